//! Random bases: gradient descent along a few random directions, which are generated and never stored (Li et al. 2018, Gressmann et
//! al. 2020).

use super::{Optimizer, Update};
use crate::gpu::Recorder;
use crate::ops::{self, BasisLayer, BasisRange, Directions, basis_chunk};
use crate::random::{Key, Stream};
use crate::{Error, Result};

/// Gradient descent on the coordinates of a random base: `w = w - rate * sum of c_i * phi_i` with `c_i = <gradient, phi_i>`. Directions
/// `phi_i` of norm 1 cover all trained elements that are stored, with entries of one size and random signs.
///
/// No base, momentum or weight decay takes memory: beside gradients there are partial sums and coordinates.
///
/// ```
/// use fretwork::optim::RandomBasis;
/// use fretwork::prelude::*;
///
/// # fn main() -> fretwork::Result<()> {
/// let gpu = Gpu::request(Options::default())?;
/// let net = Sequential::new().add(Linear::new(64, 32).relu()).add(Linear::new(32, 10));
/// let basis = RandomBasis { directions: 64, redraw: true, per_layer: false, seed: 1 };
/// let mut trainer = Trainer::builder(&gpu, net)
///     .data(Dataset::load(&Source::Digits, 1, 0)?)
///     .optimizer(basis)
///     .learning_rate(4.0, Schedule::Constant)
///     .epochs(3)
///     .build()?;
/// let summary = trainer.run(None, &mut |_| Flow::Continue)?;
/// assert!(summary.test_accuracy > 0.3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RandomBasis {
    /// Number of directions.
    pub directions: usize,
    /// Whether each step has directions of its own; otherwise the weights move within one random subspace.
    pub redraw: bool,
    /// Whether each parameter has a base of its own, of as many directions, with norm 1 within the parameter. Its steps take the share of
    /// the learning rate that it has of the elements, so that the expected step is that of one base.
    pub per_layer: bool,
    /// Seed of the directions.
    pub seed: u64,
}

impl RandomBasis {
    fn base(&self) -> Directions {
        Directions { count: self.directions, redraw: self.redraw }
    }

    fn columns(&self) -> usize {
        self.base().columns()
    }
}

impl Optimizer for RandomBasis {
    fn state_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Partial sums and coordinates: the parameters' elements are in no term but the number of rows, about 256 at most.
    fn scratch(&self, elements: &[u128]) -> u128 {
        let lengths: Vec<usize> =
            elements.iter().map(|&len| usize::try_from(len).unwrap_or(usize::MAX)).collect();
        let chunk = basis_chunk(lengths.iter().fold(0, |all, &len| all.saturating_add(len)));
        let rows: usize = lengths.iter().map(|len| len.div_ceil(chunk)).sum();
        let present = lengths.iter().filter(|&&len| len > 0).count();
        let layers = if self.per_layer { present } else { present.min(1) };
        self.columns() as u128 * (rows + 2 * layers) as u128
    }

    fn moves_all_elements(&self) -> bool {
        true
    }

    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()> {
        self.record_all(rec, std::slice::from_ref(update))
    }

    /// Records one base over all spans.
    fn record_all(&self, rec: &mut Recorder<'_>, updates: &[Update<'_>]) -> Result<()> {
        let Some(step) = updates.first().map(|update| update.step) else { return Ok(()) };
        if self.directions == 0 {
            return Err(Error::Config { option: "basis", reason: "0 directions lead nowhere".to_owned() });
        }
        let directions = self.base();
        let params = || updates.iter().flat_map(|update| update.span.params).filter(|(_, of)| of.len > 0);
        let all: usize = params().map(|(_, of)| of.len).sum();
        let chunk = basis_chunk(all);
        // The ranges of each span, and the layers of all.
        let (mut spans, mut layers, mut rows) = (Vec::new(), Vec::new(), 0);
        for Update { span, .. } in updates {
            let mut ranges = Vec::new();
            for (id, of) in span.params.iter().filter(|(_, of)| of.len > 0) {
                let key = Key::new(self.seed, Stream::Basis(id.index() as u32));
                let layer = if self.per_layer { layers.len() } else { 0 };
                let range = BasisRange { first: of.first, len: of.len, key, layer };
                let end = rows + ops::basis_rows(&[range], chunk);
                if self.per_layer {
                    let share = of.len as f64 / all as f64;
                    layers.push(BasisLayer { rows: [rows, end], elements: of.len, share });
                }
                rows = end;
                ranges.push(range);
            }
            spans.push((span, ranges));
        }
        if all == 0 {
            return Ok(());
        }
        if !self.per_layer {
            layers.push(BasisLayer { rows: [0, rows], elements: all, share: 1.0 });
        }
        let [partials, coordinates] = ops::basis_scratch(rec, directions, [rows, layers.len()])?;
        let mut first_row = 0;
        for (span, ranges) in &spans {
            ops::basis_dot(rec, span.grads, &partials, ranges, directions, [chunk, first_row], step)?;
            first_row += ops::basis_rows(ranges, chunk);
        }
        ops::basis_sum(rec, &partials, &coordinates, &layers, directions, step)?;
        spans.iter().try_for_each(|(span, ranges)| {
            ops::basis_add(rec, span.values, &coordinates, ranges, directions, step)
        })
    }
}
