//! Checks of the four matmul families: every variant, transpose, block size, remainder and epilogue.

use super::{
    Check, Verdict, halves, judge, judge_exact, numbers, operands, place, place_as, poisoned, poisoned_as,
    read_as, storable, stored_bound, thrice, thrice_as,
};
use crate::Result;
use crate::gpu::{Choice, Class, DType, Gpu, Variant};
use crate::ops::{self, Activation, Dropout, Dropping, Step, StepValues, Transpose};
use crate::random::{Key, Stream};
use crate::reference::{self, bound::gamma, oracle};
use crate::sparse::{self, BLOCKS, BlockMask, BlockMatrix, Pattern, Topology, upload_mask};

#[derive(Debug, Clone, Copy)]
enum Family {
    Dense,
    Dds,
    Dsd,
    Sdd,
}

/// Epilogue of the product.
#[derive(Debug, Clone, Copy)]
enum Tail {
    None,
    Bias,
    Forward(Activation, f32),
    Backward(Activation, f32),
}

#[derive(Debug, Clone, Copy)]
struct Case {
    family: Family,
    choice: Choice,
    transpose: Transpose,
    /// Sides of the product. Those along blocks are multiples of the block.
    sizes: [usize; 3],
    block: usize,
    tail: Tail,
    mask: bool,
    magnitude: f32,
    /// Element types of the operands, and of the result and the pre-activation.
    dtypes: [DType; 2],
    number: u32,
}

const HALF: [DType; 2] = [DType::F16; 2];
/// A result that is to be exact where operands need not be: a gradient of weights, logits.
const HALF_TO_FLOAT: [DType; 2] = [DType::F16, DType::F32];

/// Sides along blocks: at least two blocks, and three.
fn sides(block: usize) -> [usize; 2] {
    [(2 * block).max(128), (3 * block).max(192)]
}

pub(super) fn table() -> Vec<Check> {
    let mut cases = Vec::new();
    for variant in Variant::ALL {
        let plain = Case::plain(variant.into());
        if variant == Variant::Coop {
            // f32 operands have another variant.
            half_precision(&mut cases, plain);
            cooperative(&mut cases, plain);
            continue;
        }
        for transpose in Transpose::ALL {
            // Sides that four divides, and sides it does not.
            cases.push(Case { transpose, ..plain });
            cases.push(Case { transpose, sizes: [37, 10, 27], ..plain });
            for block in BLOCKS {
                let sparse = Case { transpose, block, ..plain };
                let [two, three] = sides(block);
                cases.push(Case { family: Family::Dds, sizes: [132, two, three], ..sparse });
                cases.push(Case { family: Family::Dsd, sizes: [two, 132, three], ..sparse });
                cases.push(Case { family: Family::Sdd, sizes: [two, three, 44], ..sparse });
                // The side that no block runs along, ragged.
                if block == 16 {
                    cases.push(Case { family: Family::Dds, sizes: [37, 128, 192], ..sparse });
                    cases.push(Case { family: Family::Dsd, sizes: [128, 37, 192], ..sparse });
                    cases.push(Case { family: Family::Sdd, sizes: [128, 192, 37], ..sparse });
                }
            }
        }
        for block in BLOCKS {
            let [two, three] = sides(block);
            let sizes = [two, three, 44];
            cases.push(Case {
                family: Family::Sdd,
                transpose: Transpose::TN,
                block,
                sizes,
                mask: true,
                ..plain
            });
        }
        let activations =
            [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::AllRelu { slope: 0.6 }];
        let mut tails = vec![Tail::Bias, Tail::Forward(Activation::Identity, 0.0)];
        for activation in activations {
            tails.push(Tail::Forward(activation, 0.0));
            tails.push(Tail::Backward(activation, 0.0));
        }
        tails.push(Tail::Forward(Activation::Relu, 0.3));
        tails.push(Tail::Backward(Activation::Relu, 0.3));
        for tail in tails {
            // Transposes of a layer: forward against W^T, backward against W.
            let transpose = if matches!(tail, Tail::Backward(..)) { Transpose::NN } else { Transpose::NT };
            let with_tail = Case { transpose, tail, ..plain };
            cases.push(with_tail);
            cases.push(Case { sizes: [37, 10, 27], ..with_tail });
            cases.push(Case { family: Family::Dds, block: 16, sizes: [37, 128, 192], ..with_tail });
        }
        for magnitude in [1e-3, 1e3] {
            cases.push(Case { magnitude, ..plain });
            cases.push(Case { family: Family::Dds, block: 16, sizes: [132, 128, 192], magnitude, ..plain });
        }
        half_precision(&mut cases, plain);
    }
    cases.extend(configured());
    let mut table: Vec<Check> = cases
        .into_iter()
        .enumerate()
        .map(|(number, case)| {
            let case = Case { number: number as u32, ..case };
            let half = case.dtypes.contains(&DType::F16);
            Check::new(case.name(), move |gpu| case.run(gpu)).of(case.choice.variant).of_half(half)
        })
        .collect();
    for transpose in Transpose::ALL {
        let name = format!("fretwork.dense.coop.f16.{} padded or not", letters(transpose));
        table.push(Check::new(name, move |gpu| alike(gpu, transpose)).of(Variant::Coop).of_half(true));
    }
    table
}

/// All configurations of cooperative matrices give bit-identical results.
fn alike(gpu: &Gpu, transpose: Transpose) -> Result<Verdict> {
    let [m, n, k] = [130, 68, 99];
    let mut walk = operands(1600);
    let stored = |transposed: bool, [a, b]: [usize; 2]| if transposed { [b, a] } else { [a, b] };
    let mut matrix = |shape: [usize; 2]| {
        place_as(gpu, DType::F16, &shape, &storable(DType::F16, numbers(&mut walk, shape[0] * shape[1], 1.0)))
    };
    let lhs = matrix(stored(transpose.lhs, [m, k]))?;
    let rhs = matrix(stored(transpose.rhs, [k, n]))?;
    let mut found = Vec::new();
    for choice in Choice::ALL.into_iter().filter(|choice| choice.variant == Variant::Coop) {
        let gpu = &gpu.with_choice(Some(choice));
        let bits = thrice::<f32>(gpu, |rec| {
            let out = poisoned(gpu, &[m, n])?;
            ops::dense(rec, &lhs, &rhs, &out, transpose, ops::Epilogue::None)?;
            Ok(out)
        })?;
        match bits {
            Ok(bits) => found.push(bits.into_iter().map(f32::to_bits).collect::<Vec<_>>()),
            Err(verdict) => return Ok(verdict),
        }
    }
    Ok(found.windows(2).map(|pair| judge_exact(&pair[1], &pair[0])).fold(Verdict::Right(0.0), worse))
}

fn worse(a: Verdict, b: Verdict) -> Verdict {
    if matches!(a, Verdict::Wrong(_)) { a } else { b }
}

/// `nt`, say.
fn letters(transpose: Transpose) -> String {
    [transpose.lhs, transpose.rhs].map(|transposed| if transposed { 't' } else { 'n' }).iter().collect()
}

/// Configurations of a variant differ in constants, so fewer cases stand for all: each family as a layer uses it, with every
/// block size.
fn configured() -> Vec<Case> {
    let mut cases = Vec::new();
    for choice in Choice::ALL.into_iter().filter(|&choice| choice != choice.variant.into()) {
        // f32 operands have another variant than cooperative matrices.
        let dtypes = if choice.variant == Variant::Coop { HALF_TO_FLOAT } else { [DType::F32; 2] };
        let dense = Case { transpose: Transpose::NT, dtypes, ..Case::plain(choice) };
        cases.push(dense);
        cases.push(Case { transpose: Transpose::TN, sizes: [37, 10, 27], ..dense });
        for block in BLOCKS {
            let sparse = Case { block, ..dense };
            let [two, three] = sides(block);
            cases.push(Case { family: Family::Dds, sizes: [132, two, three], ..sparse });
            let sparse = Case { transpose: Transpose::TN, ..sparse };
            cases.push(Case { family: Family::Dsd, sizes: [two, 132, three], ..sparse });
            cases.push(Case { family: Family::Sdd, sizes: [two, three, 44], ..sparse });
        }
    }
    cases
}

/// A few cases of each kernel on f16, where only loads and stores differ.
fn half_precision(cases: &mut Vec<Case>, plain: Case) {
    let half = Case { dtypes: HALF, ..plain };
    let to_float = Case { dtypes: HALF_TO_FLOAT, ..plain };
    for transpose in Transpose::ALL {
        cases.push(Case { transpose, ..half });
        cases.push(Case { transpose, sizes: [37, 10, 27], ..to_float });
    }
    cases.push(Case { sizes: [37, 11, 27], ..half });
    cases.push(Case { dtypes: [DType::F32, DType::F16], ..plain });
    for block in BLOCKS {
        // The products of a layer: forward, and backward to its input and to its weights.
        let [dds, dsd, sdd] = [Family::Dds, Family::Dsd, Family::Sdd];
        let [two, three] = sides(block);
        cases.push(Case { family: dds, block, transpose: Transpose::NT, sizes: [132, two, three], ..half });
        cases.push(Case { family: dds, block, sizes: [37, two, three], ..half });
        cases.push(Case {
            family: sdd,
            block,
            transpose: Transpose::TN,
            sizes: [two, three, 37],
            ..to_float
        });
        if block == 16 {
            cases.push(Case { family: sdd, block, transpose: Transpose::NT, sizes: [128, 192, 44], ..half });
            cases.push(Case {
                family: sdd,
                block,
                transpose: Transpose::TN,
                sizes: [128, 192, 44],
                mask: true,
                ..half
            });
            cases.push(Case { family: dsd, block, sizes: [128, 37, 192], ..half });
            cases.push(Case {
                family: dsd,
                block,
                transpose: Transpose::TN,
                sizes: [128, 132, 192],
                ..to_float
            });
        }
    }
    let (forward, backward) = (Tail::Forward(Activation::Gelu, 0.3), Tail::Backward(Activation::Gelu, 0.3));
    for (tail, transpose) in
        [(Tail::Bias, Transpose::NT), (forward, Transpose::NT), (backward, Transpose::NN)]
    {
        cases.push(Case { tail, transpose, ..half });
        cases.push(Case { tail, transpose, sizes: [37, 10, 27], ..half });
        cases.push(Case { tail, transpose, family: Family::Dds, block: 16, sizes: [37, 128, 192], ..half });
    }
    cases.push(Case { tail: Tail::Bias, transpose: Transpose::NT, ..to_float });
    for magnitude in [1e-3, 30.0] {
        cases.push(Case { magnitude, ..half });
        cases.push(Case { magnitude, family: Family::Dds, block: 16, sizes: [132, 128, 192], ..to_float });
    }
    cases.push(Case { magnitude: 1e3, ..to_float });
}

/// Cases for cooperative matrices: every transpose of every family and block, remainders along each side, and sums over many
/// steps.
fn cooperative(cases: &mut Vec<Case>, plain: Case) {
    let to_float = Case { dtypes: HALF_TO_FLOAT, ..plain };
    let [dds, dsd, sdd] = [Family::Dds, Family::Dsd, Family::Sdd];
    for transpose in Transpose::ALL {
        for sizes in [[64, 64, 64], [130, 68, 33], [5, 3, 1], [17, 129, 40]] {
            cases.push(Case { transpose, sizes, ..to_float });
        }
        for block in BLOCKS {
            let sparse = Case { transpose, block, ..to_float };
            let [two, three] = sides(block);
            cases.push(Case { family: dds, sizes: [150, two, three], ..sparse });
            cases.push(Case { family: dsd, sizes: [two, 150, three], ..sparse });
            cases.push(Case { family: sdd, sizes: [two, three, 50], ..sparse });
        }
    }
    // A sum that is carried through a hundred steps and more.
    cases.push(Case { sizes: [40, 40, 3333], ..to_float });
    cases.push(Case { family: dds, block: 16, sizes: [33, 64, 2048], ..to_float });
    cases.push(Case { family: sdd, block: 16, transpose: Transpose::TN, sizes: [64, 64, 3000], ..to_float });
}

impl Case {
    /// A dense product of f32, and nothing after it.
    fn plain(choice: Choice) -> Self {
        Self {
            family: Family::Dense,
            choice,
            transpose: Transpose::NN,
            sizes: [72, 68, 36],
            block: 0,
            tail: Tail::None,
            mask: false,
            magnitude: 1.0,
            dtypes: [DType::F32; 2],
            number: 0,
        }
    }

    fn name(&self) -> String {
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
        // Slots in no order at all, as after a change of topology, and some of them resting.
        key.walk().shuffle(&mut blocks);
        Topology::with_inactive(rows, cols, self.block, &blocks, |slot| slot % 5 == 3)
    }

    fn run(&self, gpu: &Gpu) -> Result<Verdict> {
        let gpu = &gpu.with_choice(Some(self.choice));
        let [m, n, k] = self.sizes;
        let transpose = self.transpose;
        let mut walk = operands(self.number);
        let stored = |transposed: bool, [a, b]: [usize; 2]| if transposed { [b, a] } else { [a, b] };
        let lhs_shape = stored(transpose.lhs, [m, k]);
        let rhs_shape = stored(transpose.rhs, [k, n]);
        let [dtype, result] = self.dtypes;
        let mut dense_lhs = storable(dtype, numbers(&mut walk, m * k, self.magnitude));
        let mut dense_rhs = storable(dtype, numbers(&mut walk, k * n, self.magnitude));

        // A sparse operand: the dense one loses what its topology does not have.
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

        // The twin.
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

        // The kernel.
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

/// No activation here is steeper than this: SiLU's derivative peaks at 1.1, GELU's at 1.13.
const STEEPEST: f64 = 1.2;

/// How far a kernel's activation may be from the twin's, at the same argument. WGSL allows `exp` an error of 3 + 2|x| units
/// in the last place, and the argument of the exponential carries a few roundings of its own, which it magnifies.
pub(super) fn activation_error(activation: Activation, x: f32) -> f64 {
    f64::from(x).abs() * sigmoid_error(activation, x)
}

/// [`activation_error`] of the derivative, which uses the sigmoid twice and the polynomial once more.
pub(super) fn derivative_error(activation: Activation, x: f32) -> f64 {
    let steepness = match activation {
        Activation::Gelu => 1.6 + 0.22 * f64::from(x * x),
        _ => 1.0,
    };
    (2.0 + 2.0 * f64::from(x).abs() * steepness) * sigmoid_error(activation, x)
}

fn sigmoid_error(activation: Activation, x: f32) -> f64 {
    let x = f64::from(x);
    let argument = match activation {
        Activation::Gelu => (x * (1.6 + 0.0714 * x * x)).abs(),
        Activation::Silu => x.abs(),
        // Comparisons and one product: what the oracle's own f32 twin does, to the bit, but for one rounding.
        _ => return 2.0 * bound_unit(),
    };
    (16.0 + 8.0 * argument.min(90.0)) * 2.0 * bound_unit()
}

fn bound_unit() -> f64 {
    reference::bound::UNIT
}
