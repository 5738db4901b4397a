//! Methods that exchange blocks: drop some, grow as many.

use std::collections::BTreeSet;

use fretwork::gpu::{Class, Gpu, Plan, Recorder, Tensor};
use fretwork::graph::Signals;
use fretwork::methods::{
    CtreSeq, CtreSeqOptions, CtreSim, Every, Importance, LayerContext, Method, Rigl, Set, SetPublished, Snfs,
    SupTickets, Updates, Workspace,
};
use fretwork::ops::{Step, StepValues};
use fretwork::random::{Key, Stream, Walk, unit};
use fretwork::sparse::{self, BlockMatrix, Pattern, Topology};

use crate::sets::{largest, smallest};
use crate::{BLOCK, gpu};

const ROWS: usize = 5;

/// A layer on both sides, full of small whole numbers: every score is exact, and ties abound.
struct Bench {
    gpu: Gpu,
    grid: [usize; 2],
    pattern: Pattern,
    weight: BlockMatrix,
    grad: Tensor,
    state: [Tensor; 1],
    x: Tensor,
    y: Tensor,
    dy: Tensor,
    step: Step,
    workspace: Workspace,
}

/// Inputs of one case.
struct Case {
    topology: Topology,
    weight: Vec<f32>,
    state: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
    dy: Vec<f32>,
    /// (x, dy) of steps before, for a method that observes.
    before: Vec<[Vec<f32>; 2]>,
    wanted: usize,
    index: u32,
}

const GROWTH: Stream = Stream::Growth(0);

impl Bench {
    fn new(gpu: &Gpu, grid: [usize; 2], nnz: usize, smoothing: bool) -> Self {
        let [rows, cols] = grid.map(|blocks| blocks * BLOCK);
        let topology = sparse::random(rows, cols, BLOCK, nnz, Key::new(1, Stream::Pattern(0))).unwrap();
        let pattern = Pattern::upload(gpu, &topology).unwrap();
        let floats = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "test", shape).unwrap();
        Self {
            gpu: gpu.clone(),
            grid,
            weight: BlockMatrix::alloc(gpu, Class::Scratch, "test", &pattern).unwrap(),
            grad: floats(&[nnz, BLOCK, BLOCK]),
            state: [floats(&[nnz, BLOCK, BLOCK])],
            x: floats(&[ROWS, cols]),
            y: floats(&[ROWS, rows]),
            dy: floats(&[ROWS, rows]),
            step: Step::new(gpu, StepValues::forward(0)).unwrap(),
            workspace: Workspace::new(gpu, &pattern, smoothing).unwrap(),
            pattern,
        }
    }

    fn layer(&self) -> LayerContext<'_> {
        let signals = Signals::Rows { x: &self.x, y: &self.y, dy: &self.dy };
        LayerContext {
            state: &self.state,
            ..LayerContext::new(0, 9, &self.weight, &self.grad, signals, &self.step, &self.workspace)
        }
    }

    fn case(&self, walk: &mut Walk, wanted: usize, index: u32) -> Case {
        let [rows, cols] = self.grid.map(|blocks| blocks * BLOCK);
        let nnz = self.pattern.nnz();
        let drawn = sparse::random(rows, cols, BLOCK, nnz, Key::new(walk.bits().into(), GROWTH)).unwrap();
        let mut blocks: Vec<(u32, u32)> =
            drawn.coordinates().map(|(row, col)| (row as u32, col as u32)).collect();
        walk.shuffle(&mut blocks);
        // A block's weights are one number, so that few numbers give many ties.
        let weight = (0..nnz).flat_map(|_| vec![walk.below(7) as f32 - 3.0; BLOCK * BLOCK]).collect();
        let sparse_ints = |walk: &mut Walk, count: usize| -> Vec<f32> {
            (0..count).map(|_| if walk.below(3) == 0 { walk.below(5) as f32 - 2.0 } else { 0.0 }).collect()
        };
        // Every column has one 1, so all norms are 1 and cosines are whole numbers.
        let unit_columns = |walk: &mut Walk, columns: usize| -> Vec<f32> {
            let mut x = vec![0.0; ROWS * columns];
            (0..columns).for_each(|column| x[walk.below(ROWS as u32) as usize * columns + column] = 1.0);
            x
        };
        let before = (0..walk.below(4)).map(|_| [unit_columns(walk, cols), sparse_ints(walk, ROWS * rows)]);
        Case {
            before: before.collect(),
            topology: Topology::from_coordinates(rows, cols, BLOCK, &blocks).unwrap(),
            weight,
            state: (0..nnz * BLOCK * BLOCK).map(|i| i as f32 + 1.0).collect(),
            x: unit_columns(walk, cols),
            y: unit_columns(walk, rows),
            dy: sparse_ints(walk, ROWS * rows),
            wanted,
            index,
        }
    }

    /// Feeds earlier batches to a method that observes.
    fn observe(&self, case: &Case, look: &Plan) {
        let Some(smoothed) = self.workspace.smoothed() else { return };
        self.gpu.write(smoothed, &vec![0.0f32; smoothed.len()]).unwrap();
        for [x, dy] in &case.before {
            self.gpu.write(&self.x, x).unwrap();
            self.gpu.write(&self.dy, dy).unwrap();
            self.gpu.run(look).unwrap();
        }
    }

    fn load(&self, case: &Case) {
        let gpu = &self.gpu;
        self.pattern.replace(gpu, &case.topology).unwrap();
        for (tensor, values) in [
            (self.weight.values(), &case.weight),
            (&self.state[0], &case.state),
            (&self.x, &case.x),
            (&self.y, &case.y),
            (&self.dy, &case.dy),
        ] {
            gpu.write(tensor, values).unwrap();
        }
        gpu.write(self.workspace.wanted(), &[case.wanted as u32]).unwrap();
        self.step.write(gpu, StepValues::forward(case.index)).unwrap();
    }
}

// The oracle: scores in exact arithmetic, sorts, sets. It shares no code with the library's twins.

impl Case {
    fn places(&self) -> Vec<usize> {
        self.topology.places().collect()
    }

    fn grid_places(&self) -> usize {
        self.topology.row_blocks() * self.topology.col_blocks()
    }

    /// (score, place) of the stored blocks.
    fn stored(&self, score: impl Fn(f64) -> Option<f64>) -> Vec<(f64, usize)> {
        let area = BLOCK * BLOCK;
        let sums = self.weight.chunks(area).map(|block| block.iter().map(|&w| f64::from(w)).sum::<f64>());
        sums.zip(self.places()).filter_map(|(sum, place)| Some((score(sum)?, place))).collect()
    }

    /// The score of a place by the product of an activation with the input.
    fn product(&self, left: &[f32], place: usize) -> f64 {
        self.product_with(left, &self.x, place)
    }

    fn product_with(&self, left: &[f32], x: &[f32], place: usize) -> f64 {
        let [rows, cols] = [self.topology.rows(), self.topology.cols()];
        let (row, col) = (place / self.topology.col_blocks(), place % self.topology.col_blocks());
        let mut sum = 0;
        for i in row * BLOCK..(row + 1) * BLOCK {
            for j in col * BLOCK..(col + 1) * BLOCK {
                let t: i64 = (0..ROWS).map(|k| left[k * rows + i] as i64 * x[k * cols + j] as i64).sum();
                sum += t.abs();
            }
        }
        sum as f64
    }

    fn draw(&self, place: usize) -> f64 {
        f64::from(unit(Key::new(9, GROWTH).at([place as u32, self.index])[0]))
    }

    /// The blocks that do not stay, scored.
    fn growable(&self, dropped: &BTreeSet<usize>, score: impl Fn(usize) -> f64) -> Vec<(f64, usize)> {
        let stored: BTreeSet<usize> = self.places().into_iter().collect();
        (0..self.grid_places())
            .filter(|place| !stored.contains(place) || dropped.contains(place))
            .map(|place| (score(place), place))
            .collect()
    }
}

type Oracle = fn(&Case) -> [BTreeSet<usize>; 2];

fn by_magnitude(case: &Case) -> BTreeSet<usize> {
    smallest(case.stored(|sum| Some(sum.abs())), case.wanted)
}

fn set(case: &Case) -> [BTreeSet<usize>; 2] {
    let dropped = by_magnitude(case);
    let grown = largest(case.growable(&dropped, |place| case.draw(place)), case.wanted);
    [dropped, grown]
}

fn rigl(case: &Case) -> [BTreeSet<usize>; 2] {
    let dropped = by_magnitude(case);
    let grown = largest(case.growable(&dropped, |place| case.product(&case.dy, place)), case.wanted);
    [dropped, grown]
}

/// At every look three quarters of what there was stay.
fn snfs(case: &Case) -> [BTreeSet<usize>; 2] {
    let dropped = by_magnitude(case);
    let smoothed = |place: usize| {
        let look =
            |smoothed: f64, [x, dy]: &[Vec<f32>; 2]| 0.25 * case.product_with(dy, x, place) + 0.75 * smoothed;
        case.before.iter().fold(0.0, look)
    };
    let grown = largest(case.growable(&dropped, smoothed), case.wanted);
    [dropped, grown]
}

fn ctre_seq(case: &Case) -> [BTreeSet<usize>; 2] {
    let dropped = by_magnitude(case);
    let grown = largest(case.growable(&dropped, |place| case.product(&case.y, place)), case.wanted);
    [dropped, grown]
}

fn ctre_sim(case: &Case) -> [BTreeSet<usize>; 2] {
    let [dropped, alike] = ctre_seq(case);
    let mut grown: BTreeSet<usize> = alike.difference(&dropped).copied().collect();
    let open = case.growable(&dropped, |place| case.draw(place));
    let open = open.into_iter().filter(|(_, place)| !dropped.contains(place) && !grown.contains(place));
    let random = largest(open.collect(), alike.intersection(&dropped).count());
    grown.extend(random);
    // No more are dropped than can grow.
    [smallest(case.stored(|sum| Some(sum.abs())), grown.len()), grown]
}

fn set_published(case: &Case) -> [BTreeSet<usize>; 2] {
    let share = |scored: Vec<(f64, usize)>| {
        let count = (0.3f32 * scored.len() as f32) as usize;
        smallest(scored, count)
    };
    let mut dropped = share(case.stored(|sum| (sum > 0.0).then_some(sum)));
    dropped.extend(share(case.stored(|sum| (sum < 0.0).then_some(-sum))));
    let grown = largest(case.growable(&dropped, |place| case.draw(place)), dropped.len());
    [dropped, grown]
}

/// Runs a thousand cases of a method and returns the first that differs from the oracle.
fn run_cases(method: &dyn Method, oracle: Oracle, zeroed: bool) -> Result<(), String> {
    let gpu = gpu();
    let mut walk = Key::new(3, Stream::Check(7)).walk();
    let mut index = 0;
    for grid in [[5, 7], [1, 9], [8, 4], [12, 11], [3, 3]] {
        let places = grid[0] * grid[1];
        for nnz in [1, places / 3 + 1, places / 2, places] {
            let bench = Bench::new(&gpu, grid, nnz, method.observe_every().is_some());
            let mut rec = Recorder::new(&gpu);
            method.update(&mut rec, &bench.layer()).unwrap();
            let plan = rec.finish().unwrap();
            let mut rec = Recorder::new(&gpu);
            method.observe(&mut rec, &bench.layer()).unwrap();
            let look = rec.finish().unwrap();
            for turn in 0..50 {
                // None, all, and whatever lies between.
                let wanted = match turn {
                    0 => 0,
                    1 => nnz,
                    _ => walk.below(nnz as u32 + 1) as usize,
                };
                let case = bench.case(&mut walk, wanted, index);
                index += 1;
                bench.observe(&case, &look);
                bench.load(&case);
                gpu.run(&plan).unwrap();
                compare(&bench, &case, oracle(&case), zeroed)
                    .map_err(|why| format!("{method:?}, {grid:?}, {nnz} blocks, turn {turn}: {why}"))?;
            }
        }
    }
    assert_eq!(index, 1000);
    Ok(())
}

fn compare(
    bench: &Bench,
    case: &Case,
    [dropped, grown]: [BTreeSet<usize>; 2],
    zeroed: bool,
) -> Result<(), String> {
    let before: Vec<usize> = case.places();
    let entrants: Vec<usize> = grown.difference(&dropped).copied().collect();
    let leavers: BTreeSet<usize> = dropped.difference(&grown).copied().collect();
    assert_eq!(entrants.len(), leavers.len(), "slots change hands in pairs");
    let stayed = before.iter().copied().filter(|place| !leavers.contains(place));
    let wanted: BTreeSet<usize> = stayed.chain(entrants).collect();
    // Reading it validates it: pointers, order, and the transposed index.
    let after = bench.pattern.topology(&bench.gpu).map_err(|error| error.to_string())?;
    let found: BTreeSet<usize> = after.places().collect();
    if found != wanted {
        return Err(format!("blocks {found:?} instead of {wanted:?}"));
    }
    let weight = bench.gpu.read::<f32>(bench.weight.values()).unwrap().wait().unwrap();
    let state = bench.gpu.read::<f32>(&bench.state[0]).unwrap().wait().unwrap();
    let block = |values: &[f32], slot: usize| values[slot * BLOCK * BLOCK..][..BLOCK * BLOCK].to_vec();
    for (slot, place) in after.places().enumerate() {
        match before.iter().position(|&old| old == place) {
            // Kept, also where it was dropped and regrown.
            Some(old) => {
                if block(&weight, slot) != block(&case.weight, old)
                    || block(&state, slot) != block(&case.state, old)
                {
                    return Err(format!("block {place} has not kept its values"));
                }
            }
            None => {
                let values = block(&weight, slot);
                if zeroed && values.iter().any(|&w| w != 0.0) || block(&state, slot).iter().any(|&s| s != 0.0)
                {
                    return Err(format!("new block {place} does not begin at 0"));
                }
                if !zeroed && values.iter().all(|&w| w == values[0]) {
                    return Err(format!("new block {place} was not drawn"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn set_chooses_as_its_oracle() {
    run_cases(&Set::default(), set, true).unwrap();
}

#[test]
fn rigl_chooses_as_its_oracle() {
    run_cases(&Rigl::default(), rigl, true).unwrap();
    // Sup-tickets exchange blocks as RigL does.
    run_cases(&SupTickets::default(), rigl, true).unwrap();
}

/// SNFS that may be observed at every step.
fn snfs_of(momentum: f32) -> Snfs {
    let updates = Updates { every: Every::Steps(10), ..Updates::RIGL };
    Snfs { updates, score_rows: None, momentum }
}

#[test]
fn snfs_chooses_as_its_oracle() {
    run_cases(&snfs_of(0.75), snfs, true).unwrap();
}

#[test]
fn ctre_chooses_as_its_oracles() {
    run_cases(&CtreSeq::default(), ctre_seq, false).unwrap();
    run_cases(&CtreSeq::from(CtreSeqOptions { patience: 0, ..CtreSeqOptions::default() }), set, false)
        .unwrap();
    run_cases(&CtreSim::default(), ctre_sim, false).unwrap();
}

#[test]
fn published_set_chooses_as_its_oracle() {
    run_cases(&SetPublished::default(), set_published, false).unwrap();
    // Neuron-importance pruning has the same updates.
    run_cases(&Importance::default(), set_published, false).unwrap();
}

/// The oracle objects where the method is another, or keeps too much.
#[test]
fn the_oracle_objects() {
    assert!(run_cases(&Set::default(), rigl, true).unwrap_err().contains("blocks"));
    assert!(run_cases(&Rigl::default(), ctre_seq, true).unwrap_err().contains("blocks"));
    assert!(run_cases(&CtreSeq::default(), ctre_seq, true).unwrap_err().contains("does not begin at 0"));
    assert!(run_cases(&snfs_of(0.5), snfs, true).unwrap_err().contains("blocks"));
    assert!(run_cases(&snfs_of(0.75), rigl, true).unwrap_err().contains("blocks"));
}

/// RigL's details, as the fixed cases of its PyTorch port have them, with a block for a weight: a row of four weights
/// 1 2 3 4, of which `wanted` are exchanged, and gradients as given.
#[test]
fn rigls_details() {
    let gpu = gpu();
    let exchange = |stored: [f32; 3], grads: [f32; 5], wanted: usize| -> Vec<Option<f32>> {
        let bench = Bench::new(&gpu, [1, 5], 3, false);
        let mut rec = Recorder::new(&gpu);
        Rigl::default().update(&mut rec, &bench.layer()).unwrap();
        let plan = rec.finish().unwrap();
        let area = BLOCK * BLOCK;
        let mut case = bench.case(&mut Key::new(1, GROWTH).walk(), wanted, 0);
        // Blocks 0, 1 and 2 are stored; one row of dy and x each picks the gradient of a block.
        case.topology =
            Topology::from_coordinates(BLOCK, 5 * BLOCK, BLOCK, &[(0, 0), (0, 1), (0, 2)]).unwrap();
        case.weight = stored.iter().flat_map(|&w| vec![w; area]).collect();
        (case.dy, case.x) = (vec![0.0; ROWS * BLOCK], vec![0.0; ROWS * 5 * BLOCK]);
        for (k, grad) in grads.into_iter().enumerate() {
            case.dy[k * BLOCK] = grad;
            case.x[k * 5 * BLOCK + k * BLOCK] = 1.0;
        }
        bench.load(&case);
        gpu.run(&plan).unwrap();
        let after = bench.pattern.topology(&gpu).unwrap();
        let weight = gpu.read::<f32>(bench.weight.values()).unwrap().wait().unwrap();
        let mut result = vec![None; 5];
        after.places().enumerate().for_each(|(slot, place)| result[place] = Some(weight[slot * area]));
        result
    };
    // The smallest goes, and the absent block with the largest gradient comes, from 0.
    assert_eq!(
        exchange([1.0, -2.0, 3.0], [0.0, 9.0, 9.0, 1.0, 5.0], 1),
        [None, Some(-2.0), Some(3.0), None, Some(0.0)]
    );
    // Gradients count by magnitude.
    assert_eq!(
        exchange([1.0, 2.0, 3.0], [0.0, 0.0, 0.0, -7.0, 5.0], 1),
        [None, Some(2.0), Some(3.0), Some(0.0), None]
    );
    // Dropped and regrown at once: it keeps its weight.
    assert_eq!(
        exchange([1.0, 2.0, 3.0], [8.0, 0.0, 0.0, 1.0, 5.0], 1),
        [Some(1.0), Some(2.0), Some(3.0), None, None]
    );
    // Of two dropped, one comes back with its weight and one block is new.
    assert_eq!(
        exchange([1.0, 2.0, 3.0], [8.0, 0.0, 0.0, 1.0, 5.0], 2),
        [Some(1.0), None, Some(3.0), None, Some(0.0)]
    );
    // Equals are dropped and grown from the first on.
    assert_eq!(exchange([1.0, 1.0, 1.0], [0.0; 5], 1), [Some(1.0), Some(1.0), Some(1.0), None, None]);
    assert_eq!(
        exchange([1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0, 2.0], 1),
        [None, Some(1.0), Some(1.0), Some(0.0), None]
    );
    // Nothing, and everything.
    assert_eq!(
        exchange([1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 9.0, 9.0], 0),
        [Some(1.0), Some(2.0), Some(3.0), None, None]
    );
    assert_eq!(
        exchange([1.0, 2.0, 3.0], [0.0, 4.0, 0.0, 9.0, 9.0], 3),
        [None, Some(2.0), None, Some(0.0), Some(0.0)]
    );
}
