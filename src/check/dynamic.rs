//! Checks of topology mutation: sets of blocks, patterns, and values that follow them.

use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Gpu, Tensor};
use crate::ops::{self, BlockInit, LossScale, SetOp, Step, StepValues, Swap};
use crate::random::{Key, Stream, Walk};
use crate::reference::{self, bits, bound::UNIT};
use crate::sparse::{self, BLOCKS, BlockMatrix, Pattern, Topology};

/// Grid of most checks: more than one word of bits, and no multiple of a word.
pub(super) const GRID: [usize; 2] = [9, 13];

pub(super) fn table() -> Vec<Check> {
    let mut table = vec![
        Check::new("fretwork.fill.words.f32", fill),
        Check::new("fretwork.fill.blend.f32", |gpu| blend(gpu, 1001)),
        Check::new("fretwork.fill.blend.f32.quads", |gpu| blend(gpu, 1000)),
        Check::new("fretwork.bits.count.f32", |gpu| count(gpu, false)),
        Check::new("fretwork.bits.count.f32.add", |gpu| count(gpu, true)),
        Check::new("fretwork.bits.present.f32", present),
        Check::new("fretwork.blocks.births.f32", births),
        Check::new("fretwork.pattern.empty.f32", empty_lines),
        Check::new("fretwork.pattern.slots.f32", slots),
        Check::new("fretwork.pattern.index.f32.inactive", index_with_inactive),
    ];
    for op in [SetOp::And, SetOp::Or, SetOp::AndNot] {
        table.push(Check::new(format!("fretwork.bits.combine.f32({op:?})"), move |gpu| combine(gpu, op)));
    }
    for block in BLOCKS {
        for (counted, suffix) in Counted::ALL {
            let name = format!("fretwork.pattern.swap.f32{suffix} b{block}");
            table.push(Check::new(name, move |gpu| swap(gpu, block, counted)));
            for (draws, uniform, reviving) in
                [("", false, false), (".uniform", true, false), (".reviving.uniform", true, true)]
            {
                let name = format!("fretwork.blocks.renew.f32.b{block}{draws}{suffix}");
                table.push(Check::new(name, move |gpu| renew(gpu, block, [uniform, reviving], counted)));
            }
        }
        for decay in [false, true] {
            let name = if decay { "decay" } else { "rest" };
            let name = format!("fretwork.blocks.{name}.f32.b{block}");
            table.push(Check::new(name, move |gpu| by_set(gpu, block, decay)));
        }
        let name = format!("fretwork.blocks.zero_padding.f32.b{block}");
        table.push(Check::new(name, move |gpu| zero_padding(gpu, block)));
        for both in [false, true] {
            let suffix = if both { ".both" } else { "" };
            let name = format!("fretwork.blocks.remap.f32.b{block}{suffix}");
            table.push(Check::new(name, move |gpu| remap(gpu, block, both)));
        }
    }
    table
}

/// A topology of half of the blocks of the grid, in random slots.
pub(super) fn topology(block: usize, case: u32) -> Result<Topology> {
    let key = Key::new(13, Stream::Check(case));
    let [rows, cols] = GRID.map(|blocks| blocks * block);
    let drawn = sparse::random(rows, cols, block, GRID[0] * GRID[1] / 2, key)?;
    let mut blocks: Vec<(u32, u32)> =
        drawn.coordinates().map(|(row, col)| (row as u32, col as u32)).collect();
    key.walk().shuffle(&mut blocks);
    Topology::from_coordinates(rows, cols, block, &blocks)
}

/// Number of places of the grid, with a word or a bit each.
pub(super) const PLACES: usize = GRID[0] * GRID[1];
const WORDS: usize = PLACES.div_ceil(32);

pub(super) fn words(gpu: &Gpu, words: &[u32]) -> Result<Tensor> {
    gpu.upload(Class::Scratch, "check", &[words.len()], words)
}

/// A random subset of `of` with `members` members, as bits.
pub(super) fn subset(walk: &mut Walk, of: &[usize], members: usize) -> Vec<u32> {
    let mut of = of.to_vec();
    walk.shuffle(&mut of);
    bits::set(PLACES, of.into_iter().take(members))
}

/// A set with all bits beyond the last place, which kernels ignore.
fn with_stray_bits(mut set: Vec<u32>) -> Vec<u32> {
    if let (Some(last), 1..) = (set.last_mut(), PLACES % 32) {
        *last |= u32::MAX << (PLACES % 32);
    }
    set
}

/// Map from places to slots. Absent blocks have any number that is no slot, which kernels treat as absence.
fn map_of(gpu: &Gpu, topology: &Topology) -> Result<Tensor> {
    let absent = [ops::ABSENT, topology.nnz() as u32, ops::ABSENT / 2];
    let mut map: Vec<u32> = (0..PLACES).map(|place| absent[place % 3]).collect();
    topology.places().enumerate().for_each(|(slot, place)| map[place] = slot as u32);
    words(gpu, &map)
}

pub(super) fn exact<T: PartialEq + std::fmt::Debug>(found: Result<Vec<T>, Verdict>, wanted: &[T]) -> Verdict {
    found.map_or_else(|verdict| verdict, |found| judge_exact(&found, wanted))
}

fn fill(gpu: &Gpu) -> Result<Verdict> {
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[1000])?;
        ops::fill(rec, &out, (-1.0f32).to_bits())?;
        Ok(out)
    })?;
    let mut wanted = vec![0; 1000];
    reference::fill(&mut wanted, (-1.0f32).to_bits());
    Ok(exact(found, bytemuck::cast_slice::<u32, f32>(&wanted)))
}

fn blend(gpu: &Gpu, n: usize) -> Result<Verdict> {
    let mut walk = operands(1001);
    let [x, old] = [(); 2].map(|()| numbers(&mut walk, n, 1.0));
    for weights in [[0.3, 0.9], [2.0, 0.0]] {
        let mut wanted = old.clone();
        reference::blend(&x, &mut wanted, weights);
        let tensor = place(gpu, &[n], &x)?;
        let found = thrice(gpu, |rec| {
            let out = if weights[1] == 0.0 { poisoned(gpu, &[n])? } else { place(gpu, &[n], &old)? };
            ops::blend(rec, &tensor, &out, weights)?;
            Ok(out)
        })?;
        let verdict = found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| 4.0 * UNIT));
        if !matches!(verdict, Verdict::Right(_)) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Right(0.0))
}

/// Inactive blocks, zeroed or decayed.
fn by_set(gpu: &Gpu, block: usize, decay: bool) -> Result<Verdict> {
    let topology = topology(block, 1017)?;
    let pattern = Pattern::upload(gpu, &topology)?;
    let mut walk = operands(1017);
    let old = numbers(&mut walk, topology.elements(), 1.0);
    let active = subset(&mut walk, &topology.places().collect::<Vec<_>>(), 20);
    let mut wanted = old.clone();
    let rates = [0.5, 2.0];
    if decay {
        reference::decay_blocks(&topology, &mut wanted, &active, rates, 0.05);
    } else {
        reference::zero_inactive_blocks(&topology, &mut wanted, &active);
    }
    let active = words(gpu, &active)?;
    let step = Step::new(gpu, StepValues { learning_rate: 0.05, ..StepValues::forward(0) })?;
    let found = thrice(gpu, |rec| {
        let values = place(gpu, &[topology.nnz(), block, block], &old)?;
        if decay {
            ops::decay_blocks(rec, &pattern, &values, &active, rates, &step)?;
        } else {
            ops::zero_inactive_blocks(rec, &pattern, &values, &active)?;
        }
        Ok(values)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| 4.0 * UNIT)))
}

/// Padding of rows and columns, zeroed.
fn zero_padding(gpu: &Gpu, block: usize) -> Result<Verdict> {
    let topology = topology(block, 1019)?;
    let pattern = Pattern::upload(gpu, &topology)?;
    let mut walk = operands(1019);
    let old = numbers(&mut walk, topology.elements(), 1.0);
    let lines = [topology.rows(), topology.cols()].map(|lines| lines.div_ceil(32)).iter().sum::<usize>();
    let counted: Vec<u32> = (0..lines).map(|_| walk.bits() | walk.bits()).collect();
    let mut wanted = old.clone();
    reference::zero_block_padding(&topology, &mut wanted, &counted);
    let counted = words(gpu, &counted)?;
    let found = thrice(gpu, |rec| {
        let values = place(gpu, &[topology.nnz(), block, block], &old)?;
        ops::zero_block_padding(rec, &pattern, &values, &counted)?;
        Ok(values)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| 0.0)))
}

fn count(gpu: &Gpu, add: bool) -> Result<Verdict> {
    let mut walk = operands(1003);
    let set: Vec<u32> = (0..1000).map(|_| walk.bits()).collect();
    let tensor = words(gpu, &set)?;
    let found = thrice(gpu, |rec| {
        let out = words(gpu, &[7])?;
        ops::bits::count(rec, &tensor, &out, add)?;
        Ok(out)
    })?;
    Ok(exact(found, &[bits::count(&set) + if add { 7 } else { 0 }]))
}

fn combine(gpu: &Gpu, op: SetOp) -> Result<Verdict> {
    let mut walk = operands(1004);
    let [a, b] = [(); 2].map(|()| (0..300).map(|_| walk.bits()).collect::<Vec<u32>>());
    let (a_tensor, b_tensor) = (words(gpu, &a)?, words(gpu, &b)?);
    let found = thrice(gpu, |rec| {
        let out = words(gpu, &[7; 300])?;
        ops::bits::combine(rec, &a_tensor, &b_tensor, op, &out)?;
        Ok(out)
    })?;
    Ok(exact(found, &bits::combine(&a, &b, op)))
}

fn present(gpu: &Gpu) -> Result<Verdict> {
    let topology = topology(8, 1005)?;
    let pattern = Pattern::upload(gpu, &topology)?;
    let found = thrice(gpu, |rec| {
        let set = words(gpu, &[7; WORDS])?;
        ops::bits::present(rec, &pattern, &set)?;
        Ok(set)
    })?;
    Ok(exact(found, &bits::present(&topology)))
}

fn slots(gpu: &Gpu) -> Result<Verdict> {
    let like = topology(8, 1009)?;
    let set = subset(&mut operands(1009), &(0..PLACES).collect::<Vec<_>>(), 40);
    let wanted = reference::fill_pattern(&like, &set)?;
    let (pattern, set) = (Pattern::upload(gpu, &like)?, words(gpu, &with_stray_bits(set))?);
    let found = thrice(gpu, |rec| {
        let new = pattern.sized_like(gpu, 40)?;
        ops::fill_pattern(rec, &new, &set, &words(gpu, &[7; PLACES])?)?;
        Ok(new.packed().clone())
    })?;
    Ok(exact(found, &wanted.packed()))
}

fn index_with_inactive(gpu: &Gpu) -> Result<Verdict> {
    let old = topology(8, 1010)?;
    let stored: Vec<usize> = old.places().collect();
    let active = subset(&mut operands(1010), &stored, 20);
    let none = vec![0; WORDS];
    let (wanted, _) = reference::swap_pattern(&old, &none, &none, Some(&active))?;
    let active = words(gpu, &active)?;
    let found = thrice(gpu, |rec| {
        let pattern = Pattern::upload(gpu, &old)?;
        ops::index_pattern(rec, &pattern, &words(gpu, &[7; PLACES])?, Some(&active))?;
        Ok(pattern.packed().clone())
    })?;
    Ok(exact(found, &wanted.packed()))
}

fn swap(gpu: &Gpu, block: usize, counted: Counted) -> Result<Verdict> {
    let old = topology(block, 1011)?;
    let mut walk = operands(1011);
    let stored: Vec<usize> = old.places().collect();
    let absent: Vec<usize> = (0..PLACES).filter(|place| !stored.contains(place)).collect();
    // Dropped blocks, grown blocks, and blocks dropped and grown at once.
    let dropped = subset(&mut walk, &stored, 20);
    let everything: Vec<usize> = (0..PLACES).collect();
    let back = subset(&mut walk, &bits::members(&dropped), 6);
    let grown = bits::combine(&subset(&mut walk, &absent, 14), &back, SetOp::Or);
    // Absent blocks to drop and stored blocks to grow are ignored.
    let absurd = bits::combine(&subset(&mut walk, &everything, 9), &grown, SetOp::AndNot);
    let dropped =
        bits::combine(&dropped, &bits::combine(&absurd, &bits::present(&old), SetOp::AndNot), SetOp::Or);
    let absurd = bits::combine(&subset(&mut walk, &stored, 9), &dropped, SetOp::AndNot);
    let grown = bits::combine(&grown, &absurd, SetOp::Or);
    let none = vec![0; WORDS];
    let skipped = counted == Counted::Device { skipped: true };
    let [leave, come] = if skipped { [&none; 2] } else { [&dropped, &grown] };
    let (wanted, fresh) = reference::swap_pattern(&old, leave, come, None)?;
    let new = fresh.iter().filter(|fresh| **fresh).count() as u32;
    let [dropped, grown] = [dropped, grown].map(|set| words(gpu, &with_stray_bits(set)));
    let (dropped, grown) = (dropped?, grown?);
    let step = counted.step(gpu)?;
    let mut marks = None;
    let found = thrice(gpu, |rec| {
        let pattern = Pattern::upload(gpu, &old)?;
        let (map, churn) = (words(gpu, &[7; PLACES])?, words(gpu, &[100, 7])?);
        let born = words(gpu, &vec![2; old.nnz()])?;
        let swap =
            Swap { dropped: &dropped, grown: &grown, map: &map, born: &born, churn: &churn, step: &step };
        ops::swap_pattern(rec, &pattern, swap, None)?;
        marks = Some((map, born, churn));
        Ok(pattern.packed().clone())
    })?;
    let verdict = exact(found, &wanted.packed());
    let (Verdict::Right(_), Some((map, marks, churn))) = (&verdict, marks) else { return Ok(verdict) };
    let mut slots = vec![ops::ABSENT; PLACES];
    for (slot, place) in wanted.places().enumerate() {
        slots[place] = slot as u32;
    }
    let verdict = judge_exact(&gpu.read::<u32>(&map)?.wait()?, &slots);
    let Verdict::Right(_) = verdict else { return Ok(verdict) };
    let born: Vec<u32> = fresh.into_iter().map(|fresh| if fresh { STEP + 1 } else { 2 }).collect();
    let verdict = judge_exact(&gpu.read::<u32>(&marks)?.wait()?, &born);
    let Verdict::Right(_) = verdict else { return Ok(verdict) };
    Ok(judge_exact(&gpu.read::<u32>(&churn)?.wait()?, &[100 + new, 7 + new.min(1)]))
}

const STEP: u32 = 6;

/// Counter of the steps that moved weights.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counted {
    Host,
    /// The device, with scaled gradients, in a step that counts or is skipped.
    Device {
        skipped: bool,
    },
}

/// Key of the draws for new blocks.
const RENEWED: Key = Key([0x1012, 3]);

impl Counted {
    const ALL: [(Self, &str); 3] = [
        (Self::Host, ""),
        (Self::Device { skipped: false }, ".scaled"),
        (Self::Device { skipped: true }, ".scaled skipped"),
    ];

    /// The step after `STEP` steps that moved weights.
    fn step(self, gpu: &Gpu) -> Result<Step> {
        let values = StepValues::forward(STEP);
        let Self::Device { skipped } = self else { return Step::new(gpu, values) };
        let scale = LossScale::new(gpu, 2.0)?;
        let factor: f32 = if skipped { 0.0 } else { 0.5 };
        gpu.write(scale.tensor(), &[2.0f32.to_bits(), factor.to_bits(), STEP, 0, 0, 0])?;
        // The device must not use the host's count.
        Ok(Step::new(gpu, StepValues { moves: 99, ..values })?.with_scale(scale))
    }
}

fn renew(gpu: &Gpu, block: usize, [uniform, reviving]: [bool; 2], counted: Counted) -> Result<Verdict> {
    let topology = topology(block, 1012)?;
    let pattern = Pattern::upload(gpu, &topology)?;
    let mut walk = operands(1012);
    let old = numbers(&mut walk, topology.elements(), 1.0);
    let fresh: Vec<bool> = (0..topology.nnz()).map(|_| walk.below(3) == 0).collect();
    let mut wanted = old.clone();
    let silent: Vec<u32> = (0..GRID[0] as u32).map(|row| row % 2).collect();
    let drawn = uniform.then_some((0.25, RENEWED, STEP));
    if counted != (Counted::Device { skipped: true }) {
        reference::renew_blocks(&topology, &mut wanted, &fresh, drawn, reviving.then_some(&silent));
    }
    let silent = words(gpu, &silent)?;
    let with = match (uniform, reviving) {
        (false, _) => BlockInit::Zero,
        (true, false) => BlockInit::Uniform { limit: 0.25, key: RENEWED },
        (true, true) => BlockInit::Reviving { silent, limit: 0.25, key: RENEWED },
    };
    // Other blocks are older, or marked with the step after the next.
    let births: Vec<u32> = fresh
        .iter()
        .map(|&fresh| if fresh { STEP + 1 } else { [0, STEP, STEP + 2][walk.below(3) as usize] })
        .collect();
    let born = words(gpu, &births)?;
    let step = counted.step(gpu)?;
    let found = thrice(gpu, |rec| {
        let values = place(gpu, &[topology.nnz(), block, block], &old)?;
        ops::renew_blocks(rec, &pattern, &values, &born, &with, &step)?;
        Ok(values)
    })?;
    Ok(exact(found, &wanted))
}

/// A pattern with many empty rows and columns.
fn empty_lines(gpu: &Gpu) -> Result<Verdict> {
    let [rows, cols] = [300, 70].map(|blocks| blocks * 8);
    let topology = sparse::random(rows, cols, 8, 90, Key::new(13, Stream::Check(1020)))?;
    let [row, col] = reference::empty_lines(&topology);
    let pattern = Pattern::upload(gpu, &topology)?;
    let found = thrice(gpu, |rec| {
        let out = gpu.upload(Class::Scratch, "check", &[3, 2], &[7u32; 6])?;
        ops::empty_lines(rec, &pattern, &out, 1)?;
        Ok(out)
    })?;
    Ok(exact(found, &[7, 7, row, col, 7, 7]))
}

fn births(gpu: &Gpu) -> Result<Verdict> {
    let (from, to) = (topology(8, 1018)?, topology(8, 1019)?);
    let before: Vec<u32> = (0..from.nnz() as u32).collect();
    let wanted = reference::remap_births((&from, &before), &to, 99);
    let (map, to) = (map_of(gpu, &from)?, Pattern::upload(gpu, &to)?);
    let before = words(gpu, &before)?;
    let found = thrice(gpu, |rec| {
        let born = words(gpu, &vec![7; to.nnz()])?;
        ops::remap_births(rec, &before, &map, &to, &born, 99)?;
        Ok(born)
    })?;
    Ok(exact(found, &wanted))
}

fn remap(gpu: &Gpu, block: usize, both: bool) -> Result<Verdict> {
    let [from, other, to] = [1013, 1014, 1015].map(|case| topology(block, case));
    let (from, other, to) = (from?, other?, to?);
    let mut walk = operands(1013);
    let (a, b) = (numbers(&mut walk, from.elements(), 1.0), numbers(&mut walk, other.elements(), 1.0));
    let weights = [0.75, 0.3];
    let mut wanted = vec![0.0; to.elements()];
    let second = both.then_some(((&other, b.as_slice()), weights));
    reference::remap_blocks((&from, &a), second, &to, &mut wanted);
    let (map_a, map_b, to) = (map_of(gpu, &from)?, map_of(gpu, &other)?, Pattern::upload(gpu, &to)?);
    let (a, b) =
        (place(gpu, &[from.nnz(), block, block], &a)?, place(gpu, &[other.nnz(), block, block], &b)?);
    let found = thrice(gpu, |rec| {
        let poison = vec![f32::NAN; to.elements()];
        let out = BlockMatrix::upload(gpu, Class::Scratch, "check", &to, &poison)?;
        let source = |values, map| ops::RemapSource { values, map };
        let second = both.then_some((source(&b, &map_b), weights));
        ops::remap_blocks(rec, source(&a, &map_a), second, &out)?;
        Ok(out.values().clone())
    })?;
    let bound = |_| if both { 4.0 * UNIT } else { 0.0 };
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}
