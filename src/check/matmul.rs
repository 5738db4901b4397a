//! Checks of the four matmul families: every variant, transpose, block size, remainder and epilogue.

use super::harness::{Check, Verdict, judge_exact, numbers, operands, place_as, poisoned, storable, thrice};
use super::product::{Case, Family, Tail, letters};
use crate::Result;
use crate::gpu::{Choice, DType, Gpu, Variant};
use crate::ops::{self, Activation, Transpose};
use crate::sparse::BLOCKS;

const HALF: [DType; 2] = [DType::F16; 2];
/// f16 operands with an f32 result, such as a gradient of weights or logits.
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
            // Products of f32 operands have no such variant.
            half_precision(&mut cases, plain);
            cooperative(&mut cases, plain);
            continue;
        }
        for transpose in Transpose::ALL {
            // Sides that are multiples of four, and ragged ones.
            cases.push(Case { transpose, ..plain });
            cases.push(Case { transpose, sizes: [37, 10, 27], ..plain });
            for block in BLOCKS {
                let sparse = Case { transpose, block, ..plain };
                let [two, three] = sides(block);
                cases.push(Case { family: Family::Dds, sizes: [132, two, three], ..sparse });
                cases.push(Case { family: Family::Dsd, sizes: [two, 132, three], ..sparse });
                cases.push(Case { family: Family::Sdd, sizes: [two, three, 44], ..sparse });
                // The dense side is ragged.
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
    Variant::ALL.into_iter().for_each(|variant| split(&mut cases, variant));
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

/// Cases of the configurations of a variant, which differ in constants alone: each family in the transpose of a layer, with every
/// block size.
fn configured() -> Vec<Case> {
    let mut cases = Vec::new();
    for choice in Choice::ALL.into_iter().filter(|&choice| choice != choice.variant.into()) {
        // Cooperative matrices are for f16 operands alone.
        let dtypes = if choice.variant == Variant::Coop { HALF_TO_FLOAT } else { [DType::F32; 2] };
        let dense = Case { transpose: Transpose::NT, dtypes, ..Case::plain(choice) };
        cases.push(dense);
        cases.push(Case { transpose: Transpose::TN, sizes: [37, 10, 27], ..dense });
        for block in BLOCKS.into_iter().filter(|&block| choice.is_for(block)) {
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

/// Cases of products that are split along the contraction: the last segment is shorter, or as long, or ragged.
fn split(cases: &mut Vec<Case>, variant: Variant) {
    let dtypes = if variant == Variant::Coop { HALF_TO_FLOAT } else { [DType::F32; 2] };
    let plain = Case { splits: true, dtypes, ..Case::plain(variant.into()) };
    for (transpose, k) in Transpose::ALL.into_iter().zip([600, 1024, 1103, 517]) {
        cases.push(Case { transpose, sizes: [72, 68, k], ..plain });
        cases.push(Case { transpose, sizes: [37, 10, k], ..plain });
        let sparse = Case { family: Family::Sdd, transpose, ..plain };
        cases.extend(BLOCKS.map(|block| {
            let [two, three] = sides(block);
            Case { block, sizes: [two, three, k], mask: block == 32 && variant != Variant::Coop, ..sparse }
        }));
    }
    let (forward, backward) = (Tail::Forward(Activation::Gelu, 0.3), Tail::Backward(Activation::Gelu, 0.3));
    for (tail, transpose) in
        [(Tail::Bias, Transpose::NT), (forward, Transpose::NT), (backward, Transpose::NN)]
    {
        cases.push(Case { tail, transpose, sizes: [37, 10, 700], ..plain });
        let dtypes = if variant == Variant::Coop { HALF } else { [DType::F32, DType::F16] };
        cases.push(Case { tail, transpose, dtypes, sizes: [40, 12, 512], ..plain });
    }
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
    // Sums of more than a hundred steps.
    cases.push(Case { sizes: [40, 40, 3333], ..to_float });
    cases.push(Case { family: dds, block: 16, sizes: [33, 64, 2048], ..to_float });
    cases.push(Case { family: sdd, block: 16, transpose: Transpose::TN, sizes: [64, 64, 3000], ..to_float });
}
