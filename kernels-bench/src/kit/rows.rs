//! Targets on GPUs: the rows of `results/gpu.md`, each with its bar and how it is measured from the results of a run.

use std::fmt;

use fretwork::bench::Crossover;

use super::results::{Lack, Outcome, Results};

/// Bar of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// A lower bound and its unit, which may be empty.
    AtLeast(f64, &'static str),
    /// More than 1, as times as fast.
    Faster,
}

/// A target: what is measured, its bar, and the steps that measure it.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) bar: Bar,
    pub(crate) steps: &'static [&'static str],
    measure: fn(&Results) -> Measured,
}

type Measured = Result<f64, Lack>;

/// Verdict on a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Reached(f64),
    Missed(f64),
    /// The step that would have measured the row ran out of time.
    Cut {
        step: &'static str,
        after: f64,
    },
    NotRun(String),
}

impl Bar {
    /// Whether a figure reaches the bar.
    pub(crate) fn is_reached(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bar, _) => figure >= bar,
            Self::Faster => figure > 1.0,
        }
    }

    /// A figure in the unit of the bar.
    pub(crate) fn show(self, figure: f64) -> String {
        let number = if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") };
        match self {
            Self::AtLeast(_, "") => number,
            Self::AtLeast(_, unit) => format!("{number} {unit}"),
            Self::Faster => format!("{number} times"),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bar, "") => write!(f, "{bar}"),
            Self::AtLeast(bar, unit) => write!(f, "{bar} {unit}"),
            Self::Faster => f.write_str("faster"),
        }
    }
}

impl Verdict {
    /// Name of the verdict in one or two words.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Reached(_) => "reached",
            Self::Missed(_) => "missed",
            Self::Cut { .. } => "cut",
            Self::NotRun(_) => "not run",
        }
    }

    /// Measured figure.
    pub(crate) fn figure(&self) -> Option<f64> {
        match *self {
            Self::Reached(figure) | Self::Missed(figure) => Some(figure),
            _ => None,
        }
    }

    /// Why there is no figure.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Cut { step, after } => Some(format!("{step} was ended after {after:.0} s")),
            Self::NotRun(why) => Some(why.clone()),
            _ => None,
        }
    }
}

impl Row {
    /// Compares the figure of a run with the bar.
    pub(crate) fn verdict(&self, results: &Results) -> Verdict {
        let lack = match (self.measure)(results) {
            Ok(figure) if figure.is_finite() => {
                return if self.bar.is_reached(figure) {
                    Verdict::Reached(figure)
                } else {
                    Verdict::Missed(figure)
                };
            }
            Ok(figure) => return Verdict::NotRun(format!("the figure is {figure}")),
            Err(lack) => lack,
        };
        let Lack { step, what } = lack;
        match results.outcome(step) {
            Outcome::Cut { after } => Verdict::Cut { step, after },
            Outcome::NotRun { why } => Verdict::NotRun(format!("{step}: {why}")),
            Outcome::Failed { why } => Verdict::NotRun(format!("{step} failed: {why}")),
            Outcome::Done => Verdict::NotRun(format!("{step}: {what}")),
        }
    }
}

/// Sizes of the layer of a GPU, in titles of `bench sparse`.
const LAYER: &str = "f32, 4096 inputs, 4096 outputs, 512 rows";
const LARGE: &str = "f32, 4096 inputs, 4096 outputs, 4096 rows";
const LARGE_HALF: &str = "f16, 4096 inputs, 4096 outputs, 4096 rows";

/// Products of a layer; the first two are DDS, the third is SDD.
const PRODUCTS: [&str; 3] = ["x * W^T", "dy * W", "dy^T * x"];

const UP_TO_HALF: [f64; 4] = [0.05, 0.1, 0.25, 0.5];

/// Least of some figures; the first that is lacking is lacking of all.
fn least(figures: impl IntoIterator<Item = Measured>) -> Measured {
    figures.into_iter().try_fold(f64::INFINITY, |least, figure| Ok(least.min(figure?)))
}

/// Rate per non-zero as a share of the best dense rate: the least of some products, block sides and densities.
fn rate(
    results: &Results,
    (step, sizes): (&'static str, &str),
    products: &[&str],
    blocks: &[usize],
    densities: &[f64],
) -> Measured {
    let mut figures = Vec::new();
    for density in densities {
        let title = format!("{sizes}, density {density}");
        for block in blocks {
            for product in products {
                let row = results.row(step, "sparse", &title, &format!("{product}, blocks of {block}"));
                figures.push(row.map(|row| row.share.unwrap_or(f64::NAN)));
            }
        }
    }
    least(figures)
}

fn rate_f32(results: &Results, block: usize) -> Measured {
    rate(results, ("bench-f32", LAYER), &PRODUCTS, &[block], &UP_TO_HALF)
}

/// Density below which all three products overtake the dense ones.
fn crossover(results: &Results, block: usize) -> Measured {
    // The curves do not name their sizes.
    results.row("bench-f32", "sparse", &format!("{LAYER}, density 1"), "dense x * W^T")?;
    least(PRODUCTS.map(|product| -> Measured {
        Ok(match results.curve("bench-f32", product, block)?.crossover() {
            Crossover::At(density) | Crossover::Beyond(density) => density,
            Crossover::Below(_) => 0.0,
        })
    }))
}

/// Least rate of the three dense products over that of the baseline.
fn dense_against_baseline(results: &Results, own: (&'static str, &str), baseline: &'static str) -> Measured {
    least(PRODUCTS.map(|product| -> Measured {
        let name = format!("dense {product}");
        let ours = results.row(own.0, "sparse", &format!("{}, density 1", own.1), &name)?;
        Ok(ours.rate() / results.baseline(baseline, &name)?.rate())
    }))
}

/// Times as fast as the baseline: the least of some block sides and densities of x * W^T, the product that both systems have.
fn dds_against_baseline(
    results: &Results,
    (step, sizes): (&'static str, &str),
    baseline: &'static str,
    (blocks, densities): (&[usize], &[f64]),
    of_baseline: impl Fn(usize, f64) -> String,
) -> Measured {
    let mut figures = Vec::new();
    for density in densities {
        for &block in blocks {
            let (title, name) =
                (format!("{sizes}, density {density}"), format!("x * W^T, blocks of {block}"));
            let own = results.row(step, "sparse", &title, &name);
            figures.push(own.and_then(|own| {
                Ok(results.baseline(baseline, &of_baseline(block, *density))?.median() / own.median())
            }));
        }
    }
    least(figures)
}

fn bsr(block: usize, density: f64) -> String {
    format!("x * W^T, blocks of {block}, density {density}")
}

fn dense(_: usize, _: f64) -> String {
    "dense x * W^T".to_owned()
}

/// Least rate of the three dense products in half precision, in TFLOP/s.
fn dense_f16(results: &Results) -> Measured {
    let title = format!("{LARGE_HALF}, density 1");
    least(PRODUCTS.map(|product| -> Measured {
        let row = results.row("sparse-f16", "sparse", &title, &format!("dense {product}"))?;
        Ok(row.rate() / 1e12)
    }))
}

/// Ten steps of the sparse network against ten of a masked dense one in PyTorch.
fn masked_step(results: &Results) -> Measured {
    let title = "10 training steps of 784-4096-4096-4096-10, 4096 rows, AdamW, f16";
    let own = results.row("step-f16", "step", title, "90 % sparse, blocks of 16")?;
    Ok(results.baseline("torch-f16", "10 steps, 90 % sparse, blocks of 16")?.median() / own.median())
}

fn experts(results: &Results, rows: usize) -> Measured {
    let title = format!(": {rows} rows an expert, forward and backward");
    let layer = results.row("bench-f32", "moe", &title, "the layer")?;
    let dense = results.row("bench-f32", "moe", &title, "dense, of as many active operations")?;
    Ok(dense.median() / layer.median())
}

const F32: (&str, &str) = ("sparse-f32", LARGE);
const F16: (&str, &str) = ("sparse-f16", LARGE_HALF);
const F32_CASES: (&[usize], &[f64]) = (&[32, 64], &[0.1]);
const F16_CASES: (&[usize], &[f64]) = (&[64, 128], &[0.1, 0.25]);

/// All targets.
pub(crate) static ROWS: [Row; 16] = [
    Row {
        what: "sparse against own dense, rate per non-zero, f32, 4096² x 512, densities 0.05 to 0.5, blocks of 8",
        bar: Bar::AtLeast(0.65, ""),
        steps: &["bench-f32"],
        measure: |results| rate_f32(results, 8),
    },
    Row {
        what: "sparse against own dense, rate per non-zero, f32, 4096² x 512, densities 0.05 to 0.5, blocks of 16",
        bar: Bar::AtLeast(0.85, ""),
        steps: &["bench-f32"],
        measure: |results| rate_f32(results, 16),
    },
    Row {
        what: "sparse against own dense, rate per non-zero, f32, 4096² x 512, densities 0.05 to 0.5, blocks of 32",
        bar: Bar::AtLeast(0.9, ""),
        steps: &["bench-f32"],
        measure: |results| rate_f32(results, 32),
    },
    Row {
        what: "sparse against own dense, rate per non-zero, f32, 4096² x 512, densities 0.05 to 0.5, blocks of 64",
        bar: Bar::AtLeast(0.95, ""),
        steps: &["bench-f32"],
        measure: |results| rate_f32(results, 64),
    },
    Row {
        what: "density below which sparse overtakes own dense, f32, 4096² x 512, blocks of 32",
        bar: Bar::AtLeast(0.85, ""),
        steps: &["bench-f32"],
        measure: |results| crossover(results, 32),
    },
    Row {
        what: "dense f32, 4096³, rate against cuBLAS without TF32",
        bar: Bar::AtLeast(0.6, ""),
        steps: &["sparse-f32", "torch-f32"],
        measure: |results| dense_against_baseline(results, F32, "torch-f32"),
    },
    Row {
        what: "DDS f32, 4096² x 4096, density 0.1, blocks of 32 and 64, against BSR in PyTorch",
        bar: Bar::Faster,
        steps: &["sparse-f32", "torch-f32"],
        measure: |results| dds_against_baseline(results, F32, "torch-f32", F32_CASES, bsr),
    },
    Row {
        what: "DDS f32, 4096² x 4096, density 0.1, blocks of 32 and 64, against dense cuBLAS f32",
        bar: Bar::AtLeast(4.0, "times"),
        steps: &["sparse-f32", "torch-f32"],
        measure: |results| dds_against_baseline(results, F32, "torch-f32", F32_CASES, dense),
    },
    Row {
        what: "dense f16 into f32, 4096³",
        bar: Bar::AtLeast(250.0, "TFLOP/s"),
        steps: &["sparse-f16"],
        measure: dense_f16,
    },
    Row {
        what: "dense f16 into f32, 4096³, rate against cuBLAS f16",
        bar: Bar::AtLeast(0.33, ""),
        steps: &["sparse-f16", "torch-f16"],
        measure: |results| dense_against_baseline(results, F16, "torch-f16"),
    },
    Row {
        what: "DDS f16 against own dense, rate per non-zero, 4096² x 4096, densities 0.1 and 0.25, blocks of 64 and 128",
        bar: Bar::AtLeast(0.9, ""),
        steps: &["sparse-f16"],
        measure: |results| rate(results, F16, &PRODUCTS[..2], F16_CASES.0, F16_CASES.1),
    },
    Row {
        what: "DDS f16, 4096² x 4096, densities 0.1 and 0.25, blocks of 64 and 128, against BSR in PyTorch through Triton",
        bar: Bar::Faster,
        steps: &["sparse-f16", "torch-f16"],
        measure: |results| dds_against_baseline(results, F16, "torch-f16", F16_CASES, bsr),
    },
    Row {
        what: "DDS f16, 4096² x 4096, densities 0.1 and 0.25, blocks of 64 and 128, against dense cuBLAS f16",
        bar: Bar::Faster,
        steps: &["sparse-f16", "torch-f16"],
        measure: |results| dds_against_baseline(results, F16, "torch-f16", F16_CASES, dense),
    },
    Row {
        what: "training step of 784-4096-4096-4096-10, 90 % sparse, batches of 4096, f16, against a masked dense one in PyTorch",
        bar: Bar::AtLeast(2.0, "times"),
        steps: &["step-f16", "torch-f16"],
        measure: masked_step,
    },
    Row {
        what: "experts forward and backward against dense of as many active operations, 128 rows an expert",
        bar: Bar::AtLeast(0.8, ""),
        steps: &["bench-f32"],
        measure: |results| experts(results, 128),
    },
    Row {
        what: "experts forward and backward against dense of as many active operations, 16 rows an expert",
        bar: Bar::AtLeast(0.6, ""),
        steps: &["bench-f32"],
        measure: |results| experts(results, 16),
    },
];
