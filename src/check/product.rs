//! A case of a matmul: its operands, its twin, and the bound of its error.

use super::activation::{STEEPEST, activation_error, derivative_error};
use super::harness::{
    Verdict, halves, judge, numbers, operands, place, place_as, poisoned_as, read_as, storable, stored_bound,
    thrice_as,
};
use crate::Result;
use crate::gpu::{Choice, Class, DType, Gpu};
use crate::ops::{self, Activation, Dropout, Dropping, Step, StepValues, Transpose};
use crate::random::{Key, Stream};
use crate::reference::{self, bound::gamma, oracle};
use crate::sparse::{self, BlockMask, BlockMatrix, Pattern, Topology, upload_mask};

#[derive(Debug, Clone, Copy)]
pub(super) enum Family {
    Dense,
    Dds,
    Dsd,
    Sdd,
}

/// Epilogue of the product.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tail {
    None,
    Bias,
    Forward(Activation, f32),
    Backward(Activation, f32),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) family: Family,
    pub(super) choice: Choice,
    pub(super) transpose: Transpose,
    /// Sides of the product. Those along blocks are multiples of the block.
    pub(super) sizes: [usize; 3],
    pub(super) block: usize,
    pub(super) tail: Tail,
    pub(super) mask: bool,
    /// Whether the device splits long contractions of few tiles.
    pub(super) splits: bool,
    pub(super) magnitude: f32,
    /// Element types of the operands, and of the result and the pre-activation.
    pub(super) dtypes: [DType; 2],
    pub(super) number: u32,
}

/// Transposes as letters, such as `nt`.
pub(super) fn letters(transpose: Transpose) -> String {
    [transpose.lhs, transpose.rhs].map(|transposed| if transposed { 't' } else { 'n' }).iter().collect()
}

impl Case {
    /// A dense f32 product without an epilogue.
    pub(super) fn plain(choice: Choice) -> Self {
        Self {
            family: Family::Dense,
            choice,
            transpose: Transpose::NN,
            sizes: [72, 68, 36],
            block: 0,
            tail: Tail::None,
            mask: false,
            splits: false,
            magnitude: 1.0,
            dtypes: [DType::F32; 2],
            number: 0,
        }
    }

    pub(super) fn name(&self) -> String {
        let family = match self.family {
            Family::Dense => "dense",
            Family::Dds => "dds",
            Family::Dsd => "dsd",
            Family::Sdd => "sdd",
        };
        let [dtype, result] = self.dtypes;
        let mut name = format!("fretwork.{family}.{}.{}", self.choice.name(), dtype.name());
        if self.block > 0 {
            name += &format!(".b{}", self.block);
        }
        name += &format!(".{}", letters(self.transpose));
        match self.tail {
            Tail::None => {}
            Tail::Bias => name += ".bias",
            Tail::Forward(activation, rate) => name += &format!(".forward({activation}, dropout {rate})"),
            Tail::Backward(activation, rate) => name += &format!(".backward({activation}, dropout {rate})"),
        }
        if self.mask {
            name += ".mask";
        }
        if self.splits {
            name += ".split";
        }
        if result == DType::F16 {
            name += ".half_out";
        }
        let [m, n, k] = self.sizes;
        name += &format!(" {m}x{n}x{k}");
        if self.magnitude != 1.0 {
            name += &format!(" at {:e}", self.magnitude);
        }
        name
    }

    /// A pattern with an empty row of blocks, an empty column and a full row, random elsewhere.
    fn topology(&self, rows: usize, cols: usize) -> Result<Topology> {
        let key = Key::new(7, Stream::Check(self.number));
        let total = (rows / self.block) * (cols / self.block);
        let drawn = sparse::random(rows, cols, self.block, total / 2, key)?;
        let (last_row, last_col) = (rows / self.block - 1, cols / self.block - 1);
        let mut blocks: Vec<(u32, u32)> = drawn
            .coordinates()
            .filter(|&(row, col)| row != 0 && col != last_col && row != last_row)
            .map(|(row, col)| (row as u32, col as u32))
            .collect();
        blocks.extend((0..last_col as u32).map(|col| (last_row as u32, col)));
        // Random slots, like those of a mutated topology, some of them inactive.
        key.walk().shuffle(&mut blocks);
        Topology::with_inactive(rows, cols, self.block, &blocks, |slot| slot % 5 == 3)
    }

    pub(super) fn run(&self, gpu: &Gpu) -> Result<Verdict> {
        let gpu = &gpu.with_choice(Some(self.choice)).with_splits(self.splits);
        let [m, n, k] = self.sizes;
        let transpose = self.transpose;
        let mut walk = operands(self.number);
        let stored = |transposed: bool, [a, b]: [usize; 2]| if transposed { [b, a] } else { [a, b] };
        let lhs_shape = stored(transpose.lhs, [m, k]);
        let rhs_shape = stored(transpose.rhs, [k, n]);
        let [dtype, result] = self.dtypes;
        let mut dense_lhs = storable(dtype, numbers(&mut walk, m * k, self.magnitude));
        let mut dense_rhs = storable(dtype, numbers(&mut walk, k * n, self.magnitude));

        // The dense twin of a sparse operand is zero outside the active blocks.
        let topology = match self.family {
            Family::Dense => None,
            Family::Dds => Some(self.topology(rhs_shape[0], rhs_shape[1])?),
            Family::Dsd => Some(self.topology(lhs_shape[0], lhs_shape[1])?),
            Family::Sdd => Some(self.topology(m, n)?),
        };
        let mut values = Vec::new();
        if let (Some(topology), Family::Dds | Family::Dsd) = (&topology, self.family) {
            let operand = if matches!(self.family, Family::Dds) { &mut dense_rhs } else { &mut dense_lhs };
            values = topology.gather(operand);
            *operand = topology.scatter(&values);
        }
        let pattern = topology.as_ref().map(|topology| Pattern::upload(gpu, topology)).transpose()?;
        let lhs = place_as(gpu, dtype, &lhs_shape, &dense_lhs)?;
        let rhs = place_as(gpu, dtype, &rhs_shape, &dense_rhs)?;

        let bias = numbers(&mut walk, n, self.magnitude);
        let given_pre = storable(result, numbers(&mut walk, m * n, 4.0));
        let mask = match &topology {
            Some(topology) if self.mask => {
                Some(BlockMask::random(topology, 0.6, Key::new(3, Stream::Check(self.number))))
            }
            _ => None,
        };

        let index = 5;
        let dropout = |rate: f32| Dropout { rate, key: Key::new(11, Stream::Dropout(self.number)) };
        let twin_dropout = |rate: f32| (rate > 0.0).then(|| (dropout(rate), index));
        let mut pre = given_pre.clone();
        let epilogue = match self.tail {
            Tail::None => reference::Epilogue::None,
            Tail::Bias => reference::Epilogue::Bias(&bias),
            Tail::Forward(activation, rate) => reference::Epilogue::Forward {
                bias: &bias,
                activation,
                dropout: twin_dropout(rate),
                pre: &mut pre,
            },
            Tail::Backward(activation, rate) => {
                reference::Epilogue::Backward { pre: &given_pre, activation, dropout: twin_dropout(rate) }
            }
        };
        let mut wanted = vec![0.0; m * n];
        match (&topology, self.family) {
            (Some(topology), Family::Dds) => {
                reference::dds(&dense_lhs, topology, &values, &mut wanted, m, transpose, epilogue);
            }
            (Some(topology), Family::Dsd) => {
                reference::dsd(topology, &values, &dense_rhs, &mut wanted, n, transpose);
            }
            (Some(topology), Family::Sdd) => {
                wanted.resize(topology.elements(), 0.0);
                reference::sdd(&dense_lhs, &dense_rhs, topology, &mut wanted, k, transpose, mask.as_ref());
            }
            _ => reference::dense(&dense_lhs, &dense_rhs, &mut wanted, [m, n, k], transpose, epilogue),
        }

        let step = Step::new(gpu, StepValues::forward(index))?;
        let bias_tensor = place(gpu, &[n], &bias)?;
        let pre_tensor = place_as(gpu, result, &[m, n], &given_pre)?;
        let dropping = |rate: f32| (rate > 0.0).then(|| Dropping { dropout: dropout(rate), step: &step });
        let epilogue = match self.tail {
            Tail::None => ops::Epilogue::None,
            Tail::Bias => ops::Epilogue::Bias(&bias_tensor),
            Tail::Forward(activation, rate) => ops::Epilogue::Forward {
                bias: &bias_tensor,
                activation,
                dropout: dropping(rate),
                pre: stores_pre(activation).then_some(&pre_tensor),
            },
            Tail::Backward(activation, rate) => {
                ops::Epilogue::Backward { pre: &pre_tensor, activation, dropout: dropping(rate) }
            }
        };
        let sparse = match (&pattern, self.family) {
            (Some(pattern), Family::Dds | Family::Dsd) => Some(if dtype == DType::F16 {
                BlockMatrix::upload(gpu, Class::Scratch, "check", pattern, &halves(&values))?
            } else {
                BlockMatrix::upload(gpu, Class::Scratch, "check", pattern, &values)?
            }),
            _ => None,
        };
        let mask_tensor = mask.as_ref().map(|mask| upload_mask(gpu, mask)).transpose()?;
        let found = thrice_as(gpu, result, |rec| match (&pattern, &sparse, self.family) {
            (_, Some(matrix), Family::Dds) => {
                let out = poisoned_as(gpu, result, &[m, n])?;
                ops::dds(rec, &lhs, matrix, &out, transpose, epilogue)?;
                Ok(out)
            }
            (_, Some(matrix), Family::Dsd) => {
                let out = poisoned_as(gpu, result, &[m, n])?;
                ops::dsd(rec, matrix, &rhs, &out, transpose)?;
                Ok(out)
            }
            (Some(pattern), _, Family::Sdd) => {
                let b = pattern.block();
                let poison = poisoned_as(gpu, result, &[pattern.nnz(), b, b])?;
                let out = BlockMatrix::adopt(pattern.clone(), poison)?;
                ops::sdd(rec, &lhs, &rhs, &out, transpose, mask_tensor.as_ref())?;
                Ok(out.values().clone())
            }
            _ => {
                let out = poisoned_as(gpu, result, &[m, n])?;
                ops::dense(rec, &lhs, &rhs, &out, transpose, epilogue)?;
                Ok(out)
            }
        })?;
        let found = match found {
            Ok(found) => found,
            Err(verdict) => return Ok(verdict),
        };

        // Kernel and twin may each err by gamma, and a bias is one more rounding.
        let truth = oracle::product(&dense_lhs, &dense_rhs, [m, n, k], transpose);
        let margin = 2.0 * gamma(k + 1);
        let magnitude = |i: usize| match (&topology, self.family) {
            (Some(topology), Family::Sdd) => {
                let b = topology.block();
                let (row, col) = topology.coordinates().nth(i / (b * b)).unwrap_or((0, 0));
                truth.magnitudes[(row * b + i % (b * b) / b) * n + col * b + i % b]
            }
            _ => truth.magnitudes[i],
        };
        let bound = |i: usize| match self.tail {
            Tail::None => margin * magnitude(i),
            Tail::Bias => margin * (magnitude(i) + f64::from(bias[i % n]).abs()),
            Tail::Forward(activation, rate) => {
                let sum = margin * (magnitude(i) + f64::from(bias[i % n]).abs());
                (STEEPEST * sum + activation_error(activation, pre[i])) / f64::from(1.0 - rate)
            }
            Tail::Backward(activation, rate) => {
                let slope = f64::from(activation.derivative(given_pre[i])).abs();
                let error = derivative_error(activation, given_pre[i]);
                (margin * magnitude(i) * slope + magnitude(i) * error) / f64::from(1.0 - rate)
            }
        };
        let verdict = judge(&found, &wanted, |i| stored_bound(result, wanted[i], bound(i)));
        if let (Verdict::Right(_), Tail::Forward(activation, _)) = (&verdict, self.tail)
            && stores_pre(activation)
        {
            let stored = read_as(gpu, result, &pre_tensor)?;
            let bound = |i: usize| margin * (magnitude(i) + f64::from(bias[i % n]).abs());
            return Ok(judge(&stored, &pre, |i| stored_bound(result, pre[i], bound(i))));
        }
        Ok(verdict)
    }
}

/// Whether networks store the pre-activation; the identity stores it as well.
fn stores_pre(activation: Activation) -> bool {
    activation == Activation::Identity || !activation.shows_in_output()
}
