//! Refusal of options that have no effect, since a user who gives one expects an effect.

use anyhow::{Result, bail};
use clap::ArgMatches;
use clap::parser::ValueSource;
use fretwork::data::Source;
use fretwork::methods::{Kind, MethodConfig};
use fretwork::ops::gate::Gate;
use fretwork::train::OptimizerKind;

use crate::options::{Float, Model, Train};

/// Options that have an effect only under a condition.
struct Rule {
    options: &'static [&'static str],
    needs: &'static str,
    holds: fn(&Train) -> bool,
}

/// Options that always have an effect on a new run.
const ALWAYS: &[&str] = &[
    "data",
    "rows",
    "test_rows",
    "validation",
    "model",
    "hidden",
    "dense",
    "block",
    "activation",
    "seed",
    "rows_seed",
    "dtype",
    "epochs",
    "steps",
    "batch",
    "epoch_steps",
    "micro_batches",
    "recompute",
    "basis",
    "lr",
    "schedule",
    "warmup",
    "out",
    "resume",
    "stop_after",
    "adapter",
    "no_tune",
    "json",
];

/// Options of a sweep alone, which always have an effect on a new one.
const SWEEP: &[&str] = &["hidden_layers", "repeat"];

/// Options that have an effect on a resumed run.
const RESUMED: &[&str] = &["resume", "epochs", "steps", "stop_after", "adapter", "no_tune", "json"];

/// Rules of all conditional options. An option may have several rules; the first that does not hold is named.
const RULES: &[Rule] = &[
    Rule {
        options: &["label", "missing", "task"],
        needs: "a table, --data csv:FILE",
        holds: |train| matches!(train.data.data, Source::Csv(_)),
    },
    Rule {
        options: &["context", "width", "heads", "depth"],
        needs: "a language model, --model lm or moe-lm",
        holds: |train| train.model() != Model::Mlp,
    },
    Rule {
        options: &[
            "experts",
            "gate",
            "aux",
            "importance",
            "load",
            "z_loss",
            "bias_rate",
            "capacity",
            "overflow",
            "gated",
            "shared",
        ],
        needs: "--model moe-lm",
        holds: |train| train.model() == Model::MoeLm,
    },
    Rule {
        options: &["image_size", "gray"],
        needs: "images, --data images:DIR",
        holds: |train| matches!(train.data.data, Source::Images(_)),
    },
    Rule {
        options: &["patience"],
        needs: "rows to see an improvement on, --validation",
        holds: |train| train.data.validation.is_some(),
    },
    Rule {
        options: &["buffer"],
        needs: "earlier tasks to keep rows of, --tasks",
        holds: |train| train.continual.tasks.is_some(),
    },
    Rule {
        options: &["steps", "epoch_steps", "patience"],
        needs: "rows of all classes in each epoch, without --tasks",
        holds: |train| train.continual.tasks.is_none(),
    },
    Rule {
        options: &["redraw", "per_layer"],
        needs: "a random base, --basis",
        holds: |train| train.steps.basis.is_some(),
    },
    Rule {
        options: &["optimizer"],
        needs: "all elements trained, without --basis, which is trained by plain sgd",
        holds: |train| train.steps.basis.is_none() || train.steps.optimizer == Some(OptimizerKind::Sgd),
    },
    Rule {
        options: &["momentum", "weight_decay"],
        needs: "all elements trained, without --basis, which is trained by plain sgd",
        holds: |train| train.steps.basis.is_none(),
    },
    Rule {
        options: &["ensemble", "codistill", "local", "tasks"],
        needs: "a perceptron, --model mlp",
        holds: |train| train.model() == Model::Mlp,
    },
    Rule {
        options: &["ensemble", "codistill"],
        needs: "static patterns, since a --method would join the networks",
        holds: |train| train.kind() == Kind::Static,
    },
    Rule {
        options: &["weight", "burn_in", "exchange_every", "disjoint"],
        needs: "networks that learn from each other, --codistill",
        holds: |train| train.several.codistill.is_some(),
    },
    Rule {
        options: &["burn_in", "exchange_every"],
        needs: "a --weight of more than 0",
        holds: |train| train.several.weight > 0.0,
    },
    Rule {
        options: &["init_from", "pattern", "local", "tasks"],
        needs: "one network, without --ensemble and --codistill",
        holds: |train| train.several.ensemble.is_none() && train.several.codistill.is_none(),
    },
    Rule {
        options: &["local"],
        needs: "the values of each part in memory, without --recompute",
        holds: |train| train.steps.recompute.is_none(),
    },
    Rule { options: &["overflow"], needs: "a --capacity", holds: |train| train.moe.capacity > 0.0 },
    Rule {
        options: &["load"],
        needs: "a gate with noise, --gate noisy-top:K",
        holds: |train| matches!(train.moe.gate(), Gate::NoisyTopK { .. }),
    },
    Rule {
        options: &["aux", "importance", "z_loss"],
        needs: "a gate that learns, not one of hashes",
        holds: |train| !matches!(train.moe.gate(), Gate::Hash { .. }),
    },
    Rule {
        options: &["hidden"],
        needs: "experts by their number, since --experts has the hidden units of each",
        holds: |train| train.model() != Model::MoeLm || train.moe.experts.len() == 1,
    },
    Rule { options: &["dropout"], needs: "--model mlp", holds: |train| train.model() == Model::Mlp },
    Rule {
        options: &["sparsity", "init", "method"],
        needs: "sparse layers, without --dense",
        holds: |train| !train.network.dense,
    },
    Rule {
        options: &["pattern", "keep_dense"],
        needs: "sparse layers, without --dense",
        holds: |train| !train.network.dense,
    },
    Rule {
        options: &["sparsity", "init"],
        needs: "patterns that are not given, without --pattern",
        holds: |train| train.start.pattern.is_none(),
    },
    Rule {
        options: &["stochastic_rounding", "loss_scale"],
        needs: "--dtype f16",
        holds: |train| train.storage.dtype == Float::F16,
    },
    Rule {
        options: &["update_every", "update_from", "update_until"],
        needs: "a --method that updates topologies in training",
        holds: |train| MethodConfig::new(train.kind()).shared().updates.is_some(),
    },
    Rule {
        options: &["update_fraction"],
        needs: "a --method that exchanges blocks",
        holds: |train| exchanges(train.kind()),
    },
    Rule {
        options: &["update_decay"],
        needs: "a --method whose share of exchanged blocks may fall",
        holds: |train| {
            exchanges(train.kind()) && !matches!(train.kind(), Kind::SetPublished | Kind::Importance)
        },
    },
    Rule {
        options: &["backward_sparsity"],
        needs: "--method top-kast",
        holds: |train| train.kind() == Kind::TopKast,
    },
    Rule {
        options: &["penalty"],
        needs: "--method top-kast or scl",
        holds: |train| matches!(train.kind(), Kind::TopKast | Kind::Scl),
    },
    Rule {
        options: &["score_rows"],
        needs: "a --method that scores growth by gradients or activations",
        holds: |train| MethodConfig::new(train.kind()).shared().score_rows.is_some(),
    },
    Rule {
        options: &["scope"],
        needs: "a --method in which blocks of all layers may compete",
        holds: |train| MethodConfig::new(train.kind()).shared().scope.is_some(),
    },
    Rule {
        options: &["prune_outgoing"],
        needs: "--method importance",
        holds: |train| train.kind() == Kind::Importance,
    },
];

/// Whether updates of the method exchange a share of the blocks.
fn exchanges(kind: Kind) -> bool {
    kind != Kind::Magnitude && MethodConfig::new(kind).shared().updates.is_some()
}

/// Options of `train` that are given on the command line.
pub(crate) struct Given(Vec<&'static str>);

impl Given {
    /// Options of `train` among the arguments of the program.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let train = matches.subcommand_matches("train").or(matches.subcommand_matches("sweep"));
        let Some(train) = train else { return Self(Vec::new()) };
        let known = RULES.iter().flat_map(|rule| rule.options).chain(ALWAYS).chain(SWEEP).copied();
        // A sweep has some of the options of `train`, and some of its own.
        let has = |id: &str| train.ids().any(|known| known.as_str() == id);
        let given = |id: &&str| has(id) && train.value_source(id) == Some(ValueSource::CommandLine);
        Self(known.filter(given).collect())
    }
}

/// Refuses options that have no effect on a new run.
pub(crate) fn refuse_idle(train: &Train, given: &Given) -> Result<()> {
    for rule in RULES {
        if let Some(option) = rule.options.iter().find(|option| given.0.contains(option))
            && !(rule.holds)(train)
        {
            bail!("{} has no effect: it needs {}; leave it out", flag(option), rule.needs);
        }
    }
    match &train.network.hidden {
        Some(hidden) if hidden.len() > 1 && train.model() != Model::Mlp => {
            bail!("hidden: {} widths, but the hidden layers of a language model have one", hidden.len())
        }
        _ => Ok(()),
    }
}

/// Refuses options that have no effect on a resumed run.
pub(crate) fn refuse_settled(given: &Given) -> Result<()> {
    match given.0.iter().find(|option| !RESUMED.contains(option)) {
        Some(option) => {
            bail!("{} has no effect with --resume: the run's own settings hold; leave it out", flag(option))
        }
        None => Ok(()),
    }
}

fn flag(option: &str) -> String {
    match option {
        "hidden_layers" => "--depth".to_owned(),
        _ => format!("--{}", option.replace('_', "-")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::options::{Command, Options};

    fn refusal(line: &str, refuse: fn(&Train, &Given) -> Result<()>) -> Option<String> {
        let words = ["fretwork", "train"].into_iter().chain(line.split_whitespace());
        let matches = Options::command().get_matches_from(words);
        let given = Given::of(&matches);
        let Command::Train(train) = Options::from_arg_matches(&matches).unwrap().command else {
            panic!("not train")
        };
        refuse(&train, &given).err().map(|error| error.to_string())
    }

    /// Each option of `train` has a rule, or is listed as always effective.
    #[test]
    fn every_option_is_known_here() {
        let command = Options::command();
        let train = command.find_subcommand("train").unwrap();
        let known: Vec<_> = RULES.iter().flat_map(|rule| rule.options).chain(ALWAYS).collect();
        let ids: Vec<_> = train.get_arguments().map(|argument| argument.get_id().as_str()).collect();
        for id in &ids {
            assert!(known.contains(&id), "{id} is in no rule");
        }
        for id in known.into_iter().chain(RESUMED) {
            assert!(ids.contains(id), "{id} is no option");
        }
    }

    #[test]
    fn options_without_effect_are_refused_and_others_are_not() {
        for (line, wanted) in [
            (
                "--patience 3",
                "--patience has no effect: it needs rows to see an improvement on, --validation",
            ),
            (
                "--weight 0.5",
                "--weight has no effect: it needs networks that learn from each other, --codistill",
            ),
            ("--buffer 9", "--buffer has no effect: it needs earlier tasks to keep rows of, --tasks"),
            ("--tasks 2 --steps 9", "--steps has no effect: it needs rows of all classes in each epoch"),
            ("--tasks 2 --data text:a", "--tasks has no effect: it needs a perceptron, --model mlp"),
            ("--tasks 2 --ensemble 2", "--tasks has no effect: it needs one network"),
            ("--redraw", "--redraw has no effect: it needs a random base, --basis; leave it out"),
            ("--basis 8 --optimizer lars", "--optimizer has no effect: it needs all elements trained"),
            ("--basis 8 --momentum 0.9", "--momentum has no effect: it needs all elements trained"),
            ("--basis 8 --weight-decay 0.1", "--weight-decay has no effect: it needs all elements trained"),
            ("--ensemble 2 --disjoint", "--disjoint has no effect: it needs networks that learn from each"),
            ("--data text:a --ensemble 2", "--ensemble has no effect: it needs a perceptron"),
            ("--codistill 2 --method rigl", "--codistill has no effect: it needs static patterns"),
            ("--codistill 2 --weight 0 --burn-in 3", "--burn-in has no effect: it needs a --weight of more"),
            ("--data text:a --local greedy", "--local has no effect: it needs a perceptron, --model mlp"),
            ("--model moe-lm --local greedy", "--local has no effect: it needs a perceptron, --model mlp"),
            (
                "--ensemble 2 --local greedy",
                "--local has no effect: it needs one network, without --ensemble",
            ),
            (
                "--codistill 2 --local greedy",
                "--local has no effect: it needs one network, without --ensemble",
            ),
            ("--local greedy --recompute all", "--local has no effect: it needs the values of each part"),
            ("--ensemble 2 --init-from file", "--init-from has no effect: it needs one network"),
            ("--gray", "--gray has no effect: it needs images, --data images:DIR"),
            ("--data csv:a --image-size 8x8", "--image-size has no effect"),
            ("--label first", "--label has no effect: it needs a table, --data csv:FILE; leave it out"),
            ("--data mnist --missing drop", "--missing has no effect: it needs a table"),
            ("--data text:a --task regression", "--task has no effect: it needs a table"),
            ("--experts 4", "--experts has no effect: it needs --model moe-lm; leave it out"),
            ("--width 64", "--width has no effect: it needs a language model"),
            ("--data text:a --gated", "--gated has no effect: it needs --model moe-lm"),
            ("--data text:a --dropout 0.1", "--dropout has no effect: it needs --model mlp"),
            ("--data text:a --hidden 64,64", "hidden: 2 widths"),
            ("--model moe-lm --hidden 64 --experts 64,32", "--hidden has no effect"),
            ("--model moe-lm --overflow probability", "--overflow has no effect: it needs a --capacity"),
            ("--model moe-lm --load 0.1", "--load has no effect: it needs a gate with noise"),
            ("--model moe-lm --gate hash:1 --aux 0.1", "--aux has no effect: it needs a gate that learns"),
            ("--dense --sparsity 0.5", "--sparsity has no effect: it needs sparse layers"),
            ("--dense --method set", "--method has no effect"),
            ("--dense --keep-dense layers.0", "--keep-dense has no effect: it needs sparse layers"),
            ("--dense --pattern file", "--pattern has no effect: it needs sparse layers"),
            ("--pattern file --init er", "--init has no effect: it needs patterns that are not given"),
            ("--loss-scale 2", "--loss-scale has no effect: it needs --dtype f16"),
            ("--penalty 1", "--penalty has no effect: it needs --method top-kast or scl"),
            ("--update-every 5", "--update-every has no effect"),
            ("--method snip --update-until 0.5", "--update-until has no effect"),
            ("--method magnitude --update-fraction 0.5", "--update-fraction has no effect"),
            ("--method importance --update-decay linear", "--update-decay has no effect"),
            ("--method set --score-rows 4", "--score-rows has no effect"),
            ("--method rigl --scope layer", "--scope has no effect"),
            ("--method rigl --backward-sparsity 0.5", "--backward-sparsity has no effect"),
            ("--method set --prune-outgoing", "--prune-outgoing has no effect"),
        ] {
            let refused = refusal(line, refuse_idle).unwrap_or_else(|| panic!("{line} is not refused"));
            assert!(refused.starts_with(wanted), "{line}: {refused}");
        }
        for line in [
            "",
            "--dense --hidden 64,64 --dropout 0.1",
            "--data csv:a --label 3 --missing mean --task regression",
            "--data text:a --width 64 --hidden 64",
            "--model moe-lm --experts 4 --hidden 64 --capacity 1 --overflow probability",
            "--model moe-lm --gate noisy-top:2 --load 0.1 --aux 0.1",
            "--method rigl --update-every 5 --update-fraction 0.1 --update-decay linear --score-rows 4",
            "--method magnitude --update-every 5 --update-from 0.1",
            "--method top-kast --backward-sparsity 0.5 --penalty 0.1",
            "--method snip --scope layer --sparsity 0.5 --init er",
            "--method importance --prune-outgoing --update-fraction 0.1",
            "--dtype f16 --loss-scale 2 --stochastic-rounding",
            "--validation 0.1 --patience 3",
            "--basis 8 --redraw --per-layer --optimizer sgd --lr 3 --warmup 4",
            "--validation idx:a",
            "--data images:a --image-size 8x8 --gray",
            "--dense --init-from file",
            "--tasks 5 --buffer 200 --epochs 10 --method rigl",
            "--ensemble 3 --dense --rows-seed 4",
            "--local chunked:2 --hidden 64,64 --micro-batches 2 --method rigl",
            "--codistill 2 --weight 0.5 --burn-in 3 --exchange-every 4 --disjoint",
            "--pattern file --keep-dense layers.0 --init-from file --method rigl",
        ] {
            assert_eq!(refusal(line, refuse_idle), None, "{line}");
        }
    }

    #[test]
    fn a_resumed_run_has_its_own_settings() {
        let refuse = |_: &Train, given: &Given| refuse_settled(given);
        for option in ["--seed 1", "--lr 0.1", "--dense", "--data digits", "--batch 4"] {
            let refused = refusal(&format!("--resume run {option}"), refuse).unwrap();
            let name = option.split(' ').next().unwrap();
            assert!(refused.starts_with(&format!("{name} has no effect with --resume")), "{refused}");
        }
        assert_eq!(
            refusal("--resume run --epochs 4 --stop-after 3 --adapter 0 --no-tune --json", refuse),
            None
        );
    }
}
