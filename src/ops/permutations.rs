//! Table of all kernel permutations of this library: every key that an operation can record.
//!
//! The table is a list of rules. A rule is a kernel at one dtype, block size and tiling, with axes of conditionals;
//! its keys are the product of the axes. The table is too large to be held key by key.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::attention::HEADS;
use super::epilogue::with_activation;
use super::matmul::{ProblemSize, Scalar, key_of, operand_flags};
use super::{Activation, Transpose};
use crate::gpu::{Args, Choice, DType, Key, Matrices, Recorder, Tiling, Variant};
use crate::sparse::BLOCKS;
use crate::{Error, Result};

/// Conditionals that are on together.
type Flags = BTreeSet<&'static str>;

/// Alternatives of which a key has one.
type Axis = Vec<Flags>;

/// Permutations of one kernel at one dtype, block size and tiling.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Key with the conditionals that all keys of the rule have.
    base: Key,
    /// Axes; no two contain one conditional.
    axes: Vec<Axis>,
}

impl Rule {
    fn new(base: Key) -> Self {
        Self { base, axes: Vec::new() }
    }

    fn axis(mut self, axis: Axis) -> Self {
        self.axes.push(axis);
        self
    }

    /// Adds a conditional that is on or off.
    fn switch(self, flag: &'static str) -> Self {
        self.axis(sets(&[&[], &[flag]]))
    }

    /// Number of keys, at least 1.
    pub fn count(&self) -> usize {
        self.axes.iter().map(Vec::len).product()
    }

    /// Key at `index` below [`Rule::count`]: a mixed-radix number whose first digit is the first axis.
    pub fn key(&self, mut index: usize) -> Key {
        let mut key = self.base.clone();
        for axis in &self.axes {
            key.flags.extend(&axis[index % axis.len()]);
            index /= axis.len();
        }
        key
    }

    /// Whether `key` is one of the rule's.
    pub fn contains(&self, key: &Key) -> bool {
        let of = |key: &Key| (key.family, key.name, key.dtype, key.block, key.tiling);
        if of(key) != of(&self.base) || !self.base.flags.is_subset(&key.flags) {
            return false;
        }
        let mut rest: Flags = key.flags.difference(&self.base.flags).copied().collect();
        let takes_one = |axis: &Axis| {
            let on: Flags = axis.iter().flatten().copied().filter(|flag| rest.contains(flag)).collect();
            rest.retain(|flag| !on.contains(flag));
            axis.contains(&on)
        };
        self.axes.iter().all(takes_one) && rest.is_empty()
    }
}

/// The table.
pub fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let families = [
            products(),
            pairs(),
            scores(),
            blocks(),
            elementwise(),
            language(),
            gates(),
            sums(),
            sets_of_blocks(),
        ];
        families.concat()
    })
}

/// Refuses a key that is not in the table.
///
/// # Errors
/// [`Error::Argument`], with the key's label.
pub fn expect(key: &Key) -> Result<()> {
    if rules().iter().any(|rule| rule.contains(key)) {
        return Ok(());
    }
    let wanted = "a permutation of the table in ops/permutations.rs";
    Err(Error::argument(key.label(), "key", wanted, format!("conditionals {:?}", key.flags)))
}

impl Recorder<'_> {
    /// Records a dispatch of a kernel of this library; see [`Recorder::dispatch`]. In debug builds, keys outside the
    /// table are refused, because no test has translated their shaders.
    pub(super) fn record(&mut self, key: &Key, args: &Args<'_>, workgroups: u64) -> Result<()> {
        // Arguments are checked first: their errors are those of release builds.
        self.push(key, args, workgroups)?;
        if cfg!(debug_assertions) && workgroups > 0 { expect(key) } else { Ok(()) }
    }
}

const FLOATS: [DType; 2] = [DType::F32, DType::F16];

/// Cooperative matrices that devices are opened with.
fn matrices() -> impl Iterator<Item = Matrices> {
    let sides = [(8, true), (8, false), (16, true)];
    sides
        .into_iter()
        .flat_map(|(side, vectors)| [8, 16, 32, 64].map(|lanes| Matrices { side, lanes, vectors }))
}

fn sets(sets: &[&[&'static str]]) -> Axis {
    sets.iter().map(|set| set.iter().copied().collect()).collect()
}

/// Whole tensors, or windows that may continue from partial sums.
fn windows() -> Axis {
    sets(&[&[], &["window"], &["window", "continued"]])
}

/// An optimizer's element masks, or four elements at a time.
fn masks() -> Axis {
    sets(&[&[], &["mask"], &["quads"]])
}

fn activations() -> Axis {
    let all = [
        Activation::Identity,
        Activation::Relu,
        Activation::Gelu,
        Activation::Silu,
        Activation::AllRelu { slope: 0.0 },
    ];
    all.map(|activation| with_activation(Key::new("", ""), activation).flags).to_vec()
}

/// Epilogues of a product: none, bias, activation forward or backward.
fn epilogues() -> Axis {
    let mut all = sets(&[&[], &["bias"]]);
    for activation in activations() {
        for more in sets(&[&["forward"], &["forward", "pre"], &["backward"]]) {
            let with = &activation | &more;
            all.extend([with.clone(), &with | &Flags::from(["dropout"])]);
        }
    }
    all
}

/// Transposes and scalar loads of a product, where m, n and k may be ragged: no multiple of four.
fn operands(ragged: [bool; 3]) -> Axis {
    let [m, n, k] = ragged.map(|ragged| if ragged { vec![4, 5] } else { vec![4] });
    let mut all = BTreeSet::new();
    for transpose in Transpose::ALL {
        for &m in &m {
            for &n in &n {
                for &k in &k {
                    let scalar = Scalar::of(ProblemSize { m, n, k }, transpose);
                    all.insert(operand_flags(Key::new("", ""), transpose, scalar).flags);
                }
            }
        }
    }
    all.into_iter().collect()
}

/// Matmul families with a tuner: all variants, dtypes and blocks.
fn products() -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in ["dense", "dds", "dsd", "sdd"] {
        let blocks = if family == "dense" { vec![None] } else { BLOCKS.map(Some).to_vec() };
        for block in blocks {
            let block_of = |key: Key| if let Some(block) = block { key.block(block) } else { key };
            for choice in Choice::ALL.into_iter().filter(|choice| choice.is_for(block.unwrap_or(0))) {
                let key = block_of(key_of(family, choice));
                if choice.variant != Variant::Coop {
                    rules.extend(FLOATS.map(|dtype| product(key.clone().dtype(dtype))));
                    continue;
                }
                let tilings =
                    matrices().filter_map(|matrices| Tiling::new(family, matrices, key.block, choice.small));
                rules.extend(
                    tilings.map(|tiling| product(key.clone().dtype(DType::F16).tiling(Some(tiling)))),
                );
            }
        }
    }
    rules.extend(FLOATS.map(|dtype| product(Key::new("dense", "tall").dtype(dtype))));
    let splits: Vec<Rule> = rules.iter().filter_map(split).collect();
    [rules, splits, sums_of_segments()].concat()
}

/// Partial sums of the segments of a split product, in f32, without an epilogue.
fn split(whole: &Rule) -> Option<Rule> {
    let ragged = match whole.base.family {
        "dense" => [true; 3],
        "sdd" => [false, false, true],
        _ => return None,
    };
    Some(Rule::new(whole.base.clone().with("split", true)).axis(operands(ragged)))
}

/// Sums over the segments of split products.
fn sums_of_segments() -> Vec<Rule> {
    let dense = Rule::new(Key::new("dense", "sum")).switch("half_out").switch("out_scalar").axis(epilogues());
    let sdd = BLOCKS.map(|block| Key::new("sdd", "sum").block(block));
    let sdd = sdd.map(|key| Rule::new(key).switch("half_out").switch("mask"));
    [vec![dense], sdd.to_vec()].concat()
}

fn product(key: Key) -> Rule {
    let family = key.family;
    let rule = Rule::new(key).switch("half_out");
    match family {
        "dense" => rule.axis(operands([true; 3])).axis(windows()).axis(epilogues()),
        "dds" => rule.axis(operands([true, false, false])).axis(windows()).axis(epilogues()),
        "dsd" => rule.axis(gathered(operands([false, true, false]), "rhs_gather", Transpose::TN)),
        _ => {
            let plain = operands([false, false, true]);
            let masked = plain.iter().map(|operands| operands | &Flags::from(["mask"]));
            let masked: Axis = masked.collect();
            let gathered = gathered(plain, "lhs_gather", Transpose::NT);
            rule.axis([gathered, masked].concat()).axis(windows())
        }
    }
}

/// Operands of a family that gathers one of them, at one transpose alone.
fn gathered(operands: Axis, flag: &'static str, transpose: Transpose) -> Axis {
    let is = |set: &Flags| (set.contains("lhs_t"), set.contains("rhs_t")) == (transpose.lhs, transpose.rhs);
    let with: Axis = operands.iter().filter(|set| is(set)).map(|set| set | &Flags::from([flag])).collect();
    [operands, with].concat()
}

/// Products of two sparse matrices.
fn pairs() -> Vec<Rule> {
    let mut rules = Vec::new();
    for block in BLOCKS {
        for dtype in FLOATS {
            let rule = |family, transpose| {
                let key = Key::new(family, Variant::Lane.name()).block(block).dtype(dtype);
                Rule::new(operand_flags(key, transpose, Scalar::default())).switch("half_out")
            };
            rules.push(rule("sds", Transpose::NT).switch("lhs_gather"));
            rules.push(rule("ssd", Transpose::TN).switch("rhs_gather"));
            rules.push(rule("dss", Transpose::NN));
        }
    }
    rules
}

fn scores() -> Vec<Rule> {
    let of_products: [&[&str]; 3] = [&[], &["signed"], &["square"]];
    let cosine: [&[&str]; 1] = [&["cosine"]];
    let mut rules = vec![
        Rule::new(Key::new("score", "connect")),
        Rule::new(Key::new("score", "exclude")),
        Rule::new(Key::new("score", "stored")).switch("except"),
    ];
    for block in BLOCKS {
        let key = |name| Key::new("score", name).block(block);
        let plain: [&[&str]; 4] = [&[], &["square"], &["largest"], &["times"]];
        let signed: [&[&str]; 3] = [&["signed", "positive"], &["signed", "negative"], &["signed", "times"]];
        let values = Rule::new(key("values")).axis(sets(&[&plain[..], &signed[..]].concat()));
        rules.push(values.switch("window"));
        for dtype in FLOATS {
            rules.push(Rule::new(key("silent").dtype(dtype)));
            let routed = key("routed").dtype(dtype).with("lhs_t", true).with("rhs_gather", true);
            rules.push(Rule::new(routed).axis(sets(&of_products)));
            for variant in Variant::ALIKE {
                let key = key(variant.name()).dtype(dtype).with("lhs_t", true);
                let kinds = sets(&[&of_products[..], &cosine[..]].concat());
                rules.push(Rule::new(key).axis(kinds).switch("k_tail"));
            }
        }
    }
    rules
}

/// Values of blocks that follow a pattern, and hidden units of experts.
fn blocks() -> Vec<Rule> {
    let mut rules = vec![Rule::new(Key::new("blocks", "births"))];
    for block in BLOCKS {
        let rule = |family, name| Rule::new(Key::new(family, name).block(block));
        let draws = sets(&[&[], &["uniform"], &["uniform", "reviving"]]);
        rules.push(rule("blocks", "renew").axis(draws).switch("scaled"));
        rules.push(rule("blocks", "remap").switch("both"));
        rules.extend(["decay", "zero_inactive", "zero_padding"].map(|name| rule("blocks", name)));
        rules.extend(
            ["activate", "backward"].map(|name| rule("experts", name).axis(activations()).switch("gated")),
        );
        let placed = ["half_out", "stochastic", "placed"];
        let placed = placed.into_iter().fold(Key::new("convert", "to_f16"), |key, flag| key.with(flag, true));
        rules.push(Rule::new(placed.block(block)).switch("window"));
    }
    rules
}

fn elementwise() -> Vec<Rule> {
    let rule = |family, name| Rule::new(Key::new(family, name));
    let mut rules = vec![
        rule("ceiling", "copy"),
        rule("ceiling", "fma"),
        rule("basis", "dot").switch("quads").switch("redraw"),
        rule("basis", "sum").switch("scaled"),
        rule("basis", "add").switch("quads").switch("redraw"),
        rule("fill", "words"),
        rule("fill", "blend").switch("quads"),
        rule("mask", "apply"),
        rule("naive", "tile"),
        rule("optimizer", "sgd").axis(masks()).switch("nesterov").switch("scaled"),
        rule("optimizer", "adamw").axis(masks()).switch("scaled"),
        // Blocks are multiples of four.
        rule("optimizer", "adamw").axis(sets(&[&["births", "mask"], &["births", "quads"]])).switch("scaled"),
        rule("layerwise", "norms").switch("quads").switch("scaled"),
        rule("layerwise", "ratios"),
        rule("layerwise", "lars").switch("quads").switch("scaled"),
        rule("layerwise", "lamb").switch("moments").switch("births").switch("quads").switch("scaled"),
        rule("random", "fill").switch("uniform").switch("window"),
        rule("scale", "apply").switch("half_out"),
        rule("scale", "decide").switch("watched"),
        Rule::new(Key::new("convert", "to_f32").dtype(DType::F16)),
        Rule::new(Key::new("convert", "to_f16").with("half_out", true)).axis(sets(&[
            &[],
            &["stochastic"],
            &["stochastic", "window"],
        ])),
    ];
    for name in ["forward", "backward"] {
        for dtype in FLOATS {
            let key = Key::new("activation", name).dtype(dtype).with("half_out", dtype == DType::F16);
            let dropout = sets(&[&[], &["dropout"], &["dropout", "window"]]);
            rules.push(Rule::new(key).axis(activations()).axis(dropout));
        }
    }
    for name in ["scan", "activity"] {
        rules.extend(FLOATS.map(|dtype| Rule::new(Key::new("finite", name).dtype(dtype))));
    }
    rules
}

/// Embeddings, norms, attention and losses.
fn language() -> Vec<Rule> {
    let rule = |family, name| Rule::new(Key::new(family, name));
    let mut rules = vec![
        rule("embed", "gather"),
        rule("embed", "link"),
        rule("embed", "scatter").switch("window"),
        rule("layer_norm", "forward").switch("half_out"),
        rule("layer_norm", "backward").switch("add"),
        rule("layer_norm", "gain").switch("window"),
        rule("norm", "forward").switch("half_out"),
        rule("norm", "backward").switch("add"),
        rule("norm", "gain").switch("window"),
    ];
    rules.extend(["softmax", "soft", "mse"].map(|name| rule("loss", name).switch("window")));
    rules.push(rule("loss", "networks").switch("window").switch("distilled"));
    rules.push(rule("loss", "probabilities"));
    for (name, backward) in [("forward_tile", false), ("queries_tile", true), ("keys_tile", true)] {
        let key = |head| Key::new("attention", name).block(head).with("backward", backward);
        rules.extend(HEADS.map(|head| Rule::new(key(head))));
    }
    for name in ["forward", "queries", "keys"] {
        for head in HEADS {
            rules.push(Rule::new(Key::new("attention", name).block(head)));
        }
    }
    rules
}

/// Gates, routings and the combination of experts' outputs.
fn gates() -> Vec<Rule> {
    let gate = |name| Rule::new(Key::new("gate", name));
    let route = |name| Rule::new(Key::new("route", name));
    let plain = ["assign", "bias", "capacity", "count", "first", "load", "losses", "noise", "tally"];
    let weights: [&[&str]; 4] = [&[], &["chosen"], &["renormalised"], &["renormalised", "random"]];
    let sigmoids: [&[&str]; 2] = [&["sigmoid"], &["sigmoid", "renormalised"]];
    let mut rules = plain.map(gate).to_vec();
    rules.extend(["index", "scan", "tiles", "values"].map(route));
    rules.extend(["count", "place"].map(|name| route(name).switch("kept")));
    rules.extend([
        gate("probs").switch("valid").switch("sigmoid"),
        gate("choose").switch("bias"),
        gate("hash").switch("valid"),
        gate("noise_backward").switch("load"),
        gate("scores").axis(sets(&[&[], &["favour"], &["only"]])),
        gate("statistics").switch("columns").switch("load"),
        gate("weigh").axis(sets(&weights)),
        gate("backward").axis(sets(&[&weights[..], &sigmoids[..]].concat())).switch("losses"),
        Rule::new(Key::new("combine", "rows")).switch("weighted").switch("add").switch("out_scalar"),
    ]);
    rules
}

/// Column sums and norms.
fn sums() -> Vec<Rule> {
    let mut rules = Vec::new();
    for dtype in FLOATS {
        let rule = |name| Rule::new(Key::new("reduce", name).dtype(dtype));
        let sums_of = rule("sums").axis(sets(&[&[], &["third"], &["third", "fourth"]]));
        rules.push(if dtype == DType::F16 { sums_of.switch("mixed") } else { sums_of });
        let passes = sets(&[&[], &["add"], &["window"], &["window", "continued"]]);
        rules.extend([rule("norms"), rule("sum").axis(passes).switch("quads")]);
    }
    rules
}

/// Bit sets, selections and patterns.
fn sets_of_blocks() -> Vec<Rule> {
    let bits = |name| Rule::new(Key::new("bits", name));
    let pattern = |name| Rule::new(Key::new("pattern", name));
    let mut rules = ["empty", "place", "scan", "slots"].map(pattern).to_vec();
    rules.extend(["count", "fill"].map(|name| pattern(name).switch("inactive")));
    rules.extend([
        pattern("swap").switch("scaled"),
        bits("present"),
        bits("combine").axis(sets(&[&[], &["or"], &["and_not"]])),
        bits("count").switch("add"),
        Rule::new(Key::new("select", "radix")).switch("smallest").switch("fraction"),
    ]);
    rules
}
