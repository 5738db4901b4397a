//! Settings of a new run, from the options of `train`.

use fretwork::Error;
use fretwork::data::{Dataset, Source, Task};
use fretwork::methods::MethodConfig;
use fretwork::nn::{Half, LayerSparsity, LmConfig, MlpConfig, ModelConfig, MoeConfig, Precision};
use fretwork::ops::gate::Balance;
use fretwork::optim::RandomBasis;
use fretwork::sparse::MOST_EXPERTS;
use fretwork::train::{Length, OptimizerKind, Origin, Schedule, Settings, StartFrom, Validation};

use crate::first_layer::keep_dense;
use crate::options::{Float, Model, Train};

/// Steps that the default number of epochs of a table makes, within 5 and [`MOST_TABLE_EPOCHS`] epochs.
const TABLE_STEPS: u64 = 1000;
/// Rows of a step by which the default number of epochs of a table is counted.
const TABLE_BATCH: usize = 128;
/// Learning rate of a random base by default.
const BASIS_RATE: f64 = 20.0;
/// Most epochs of a table by default.
const MOST_TABLE_EPOCHS: u64 = 200;

/// Settings of a run that begins with these files, and notices of options that were reduced or set by the data's size.
///
/// # Errors
/// [`Error::Config`] for too many experts, and those of [`Source::absolute`].
pub(crate) fn settings(
    options: &Train,
    data: &Dataset,
    files: &StartFrom,
) -> fretwork::Result<(Settings, Vec<String>)> {
    expect_experts(options)?;
    let (keep_dense, first_layer) = keep_dense(options, data.width(), files);
    let Train { data: rows, steps, .. } = options;
    let (optimizer, momentum) = match steps.basis {
        None => (steps.optimizer.unwrap_or(OptimizerKind::AdamW), steps.momentum.unwrap_or(0.9)),
        Some(_) => (steps.optimizer.unwrap_or(OptimizerKind::Sgd), steps.momentum.unwrap_or(0.0)),
    };
    let basis = steps.basis.map(|directions| RandomBasis {
        directions,
        redraw: steps.redraw,
        per_layer: steps.per_layer,
        seed: options.network.seed,
    });
    let (rate, decay) = match optimizer {
        _ if basis.is_some() => (BASIS_RATE, 0.0),
        OptimizerKind::AdamW => (0.004, 0.01),
        OptimizerKind::Lamb => (0.02, 0.01),
        OptimizerKind::Lars => (4.0, 0.0005),
        OptimizerKind::Sgd => (0.1, 0.0005),
    };
    let text = matches!(rows.data, Source::Text(_));
    let epochs = match rows.data {
        Source::Digits => 20,
        Source::Text(_) => 10,
        // A small table needs more epochs for as many steps.
        Source::Csv(_) => {
            TABLE_STEPS.div_ceil(data.train.rows().div_ceil(TABLE_BATCH) as u64).clamp(5, MOST_TABLE_EPOCHS)
        }
        _ => 5,
    };
    // Each task has equally many.
    let tasks = options.continual.tasks();
    let epochs = epochs.next_multiple_of(tasks.map_or(1, |tasks| tasks.count.max(1) as u64));
    let batch = steps.batch.unwrap_or(if text { 16 } else { 128 });
    let mut settings = Settings {
        data: rows.data.absolute()?.to_string(),
        first_rows: [rows.rows, rows.test_rows],
        table: rows.table(),
        model: model(options, data, keep_dense.clone(), 0),
        precision: precision(options),
        method: method(options),
        length: match steps.steps {
            Some(steps) => Length::Steps(steps),
            None => Length::Epochs(steps.epochs.unwrap_or(epochs)),
        },
        batch,
        micro_batch: None,
        recompute: steps.recompute,
        epoch_steps: steps.epoch_steps.or(text.then_some(100)),
        images: rows.images(),
        validation: validation(options)?,
        optimizer,
        basis,
        learning_rate: steps.lr.unwrap_or(rate),
        schedule: steps.schedule.unwrap_or(match steps.warmup {
            None => Schedule::OneCycle,
            Some(_) => Schedule::Cosine,
        }),
        warmup: steps.warmup.unwrap_or(0),
        momentum,
        weight_decay: steps.weight_decay.unwrap_or(decay),
        rows_seed: options.network.rows_seed.filter(|&seed| seed != options.network.seed),
        tasks,
        origin: Origin::default(),
    };
    let mut notices = fit(&mut settings, options, data);
    settings.micro_batch = micro_batch(steps.micro_batches, settings.batch)?;
    let per_epoch = settings.steps_per_epoch(data.train.rows());
    settings.model = model(options, data, keep_dense, per_epoch);
    notices.extend(first_layer);
    Ok((settings, notices))
}

/// Rows of a pass, of so many passes of a step.
fn micro_batch(passes: Option<usize>, batch: usize) -> fretwork::Result<Option<usize>> {
    match passes {
        None | Some(1) => Ok(None),
        Some(passes) if (2..=batch).contains(&passes) => Ok(Some(batch.div_ceil(passes))),
        Some(passes) => Err(Error::Config {
            option: "micro-batches",
            reason: format!("a step of {batch} rows has 1 to {batch} passes, not {passes}"),
        }),
    }
}

/// Validation of the run, with an absolute path.
fn validation(options: &Train) -> fretwork::Result<Option<Validation>> {
    let validation = |of: fretwork::Result<_>| Ok(Validation { of: of?, patience: options.steps.patience });
    options.data.validation.as_ref().map(|of| validation(of.absolute())).transpose()
}

/// Reduces the batch to the rows of the data, and returns a notice of each size beyond the data.
fn fit(settings: &mut Settings, options: &Train, data: &Dataset) -> Vec<String> {
    let mut notices = Vec::new();
    let rows = data.train.rows();
    if settings.batch > rows {
        notices.push(format!(
            "a batch has {rows} rows, all the training rows, instead of {}; more would be padding",
            settings.batch
        ));
        settings.batch = rows;
    }
    let whole = rows.div_ceil(settings.batch.max(1)) as u64;
    if let Some(steps) = options.steps.epoch_steps.filter(|&steps| steps > whole) {
        notices.push(format!(
            "an epoch has {whole} steps, in which every row is seen, instead of the {steps} of --epoch-steps"
        ));
    }
    let labels = settings.batch * if settings.model.context() > 0 { settings.model.context() } else { 1 };
    let scored = settings.method.shared().score_rows.and_then(|rows| *rows);
    if let Some(scored) = scored.filter(|&scored| scored > labels) {
        notices.push(format!(
            "growth is scored by all {labels} rows of a batch instead of the {scored} of --score-rows"
        ));
    }
    notices
}

fn precision(options: &Train) -> Precision {
    let storage = &options.storage;
    match storage.dtype {
        Float::F32 => Precision::F32,
        Float::F16 => Precision::F16(Half {
            stochastic: storage.stochastic_rounding,
            loss_scale: storage.loss_scale,
            ..Half::default()
        }),
    }
}

/// The network, or the networks; epochs have `per_epoch` steps.
fn model(options: &Train, data: &Dataset, keep_dense: Vec<String>, per_epoch: u64) -> ModelConfig {
    let Train { network, lm, .. } = options;
    let layers = LayerSparsity { keep_dense, ..LayerSparsity::default() };
    let sparsity = (!network.dense).then_some(network.sparsity);
    let (block, density, activation, seed) = (network.block, network.init, network.activation, network.seed);
    if let Some(networks) = &options.sweep {
        return ModelConfig::Mlps(networks.config(data.width(), data.classes));
    }
    match options.model() {
        Model::Mlp => options.several.of(
            MlpConfig {
                inputs: data.width(),
                hidden: network.hidden.clone().unwrap_or_else(|| vec![512, 512]),
                classes: match options.data.task {
                    Some(Task::Regression) => 1,
                    _ => data.classes,
                },
                block,
                sparsity,
                density,
                activation,
                dropout: network.dropout,
                seed,
                layers,
                local: network.local,
            },
            per_epoch,
        ),
        kind => ModelConfig::Lm(LmConfig {
            vocabulary: data.vocabulary.clone(),
            context: lm.context,
            width: lm.width,
            heads: lm.heads,
            depth: lm.depth,
            hidden: network.hidden.as_ref().map_or(4 * lm.width, |hidden| hidden[0]),
            experts: (kind == Model::MoeLm).then(|| experts(options)),
            activation,
            block,
            sparsity,
            density,
            seed,
            layers,
        }),
    }
}

/// Refuses a number of experts beyond the limit, before a list of their widths is allocated.
fn expect_experts(options: &Train) -> fretwork::Result<()> {
    match options.moe.experts[..] {
        [count] if count > MOST_EXPERTS => {
            let reason = format!("{count} experts; must be 1 to {MOST_EXPERTS}");
            Err(Error::Config { option: "experts", reason })
        }
        _ => Ok(()),
    }
}

fn experts(options: &Train) -> MoeConfig {
    let Train { network, lm, moe, .. } = options;
    let hidden = network.hidden.as_ref().map_or(2 * lm.width, |hidden| hidden[0]);
    MoeConfig {
        experts: match moe.experts[..] {
            [count] => vec![hidden; count],
            _ => moe.experts.clone(),
        },
        gate: moe.gate(),
        balance: Balance { aux: moe.aux, importance: moe.importance, load: moe.load, z: moe.z_loss },
        bias_rate: moe.bias_rate,
        capacity: moe.capacity,
        overflow: moe.overflow,
        gated: moe.gated,
        shared: moe.shared,
    }
}

/// Published options of the method, and those given in their place.
fn method(options: &Train) -> MethodConfig {
    let given = &options.topologies;
    let mut method = MethodConfig::new(given.method);
    let shared = method.shared();
    if let Some(updates) = shared.updates {
        updates.every = given.update_every.unwrap_or(updates.every);
        updates.from = given.update_from.unwrap_or(updates.from);
        updates.until = given.update_until.unwrap_or(updates.until);
        updates.fraction = given.update_fraction.unwrap_or(updates.fraction);
        updates.decay = given.update_decay.unwrap_or(updates.decay);
    }
    if let Some(rows) = shared.score_rows {
        *rows = given.score_rows;
    }
    if let Some(scope) = shared.scope {
        *scope = given.scope;
    }
    match &mut method {
        MethodConfig::TopKast(options) => {
            options.backward_sparsity = given.backward_sparsity;
            options.penalty = given.penalty.unwrap_or(options.penalty);
        }
        MethodConfig::Scl(options) => options.cost = given.penalty.unwrap_or(options.cost),
        MethodConfig::Importance(options) => options.outgoing = given.prune_outgoing,
        _ => {}
    }
    method
}
