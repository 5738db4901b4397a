//! Measurement of a shape: candidates are checked, and the correct ones timed in interleaved rounds.

use std::time::{Duration, Instant};

use super::operands::Operands;
use crate::gpu::{Choice, Family, Gpu, Plan, Recorder, Variant, Verdict, VersusDense, Workload};
use crate::ops::{default_variant, tiling};
use crate::{Error, Result};

/// Least speedup of a candidate over the default variant. Among equals the choice would be noise, and differ every time.
const MARGIN: f64 = 1.03;

/// Interleaved rounds of timing.
const ROUNDS: usize = 5;

/// Candidates slower than the fastest by this factor are left out of the rounds.
const HOPELESS: f64 = 3.0;

/// Least time of a timed submission, so that the kernel outweighs the overhead of submission.
const LEAST: Duration = Duration::from_millis(1);

/// Most repetitions of a kernel in a submission.
const REPEATS: f64 = 100.0;

/// Most elements of a matrix, to bound the memory used.
const ELEMENTS: usize = 1 << 24;

/// Least density at which the dense product is measured; below it the dense product has thirty-two times the work.
const SPARSE: f64 = 1.0 / 32.0;

/// Result of measuring a shape.
pub(super) struct Measured {
    /// `None` if no candidate is correct.
    pub(super) verdict: Option<Verdict>,
    /// Notices for the user.
    pub(super) notices: Vec<String>,
}

/// A correct candidate.
struct Runner {
    choice: Choice,
    plan: Plan,
    /// Best time, in seconds.
    best: f64,
}

/// Times the candidates for a shape, after `deadline` in the fewest rounds.
///
/// # Errors
/// [`Error::DeviceLost`]. Other errors of a candidate exclude it.
pub(super) fn measure(gpu: &Gpu, work: &Workload, deadline: Instant) -> Result<Measured> {
    let mut notices = Vec::new();
    let scaled = shrink(*work, if gpu.is_software() { 1 << 26 } else { 1 << 35 });
    let operands = Operands::new(gpu, scaled)?;
    // The default variant goes first: its bits are the reference that other candidates must reproduce.
    let default = default_variant(gpu, work);
    let others = candidates(gpu, work, default).into_iter().filter(|&choice| choice != default);
    let choices: Vec<Choice> = std::iter::once(default).chain(others).collect();
    let plans = record_all(gpu, &choices, &operands);
    let mut reference: Option<Vec<f32>> = None;
    let mut runners: Vec<Runner> = Vec::new();
    for (choice, plan) in choices.into_iter().zip(plans) {
        let mut dismiss =
            |why: &str| notices.push(format!("{} is not used for {work}: {why}", choice.name()));
        let tried = plan.and_then(|plan| {
            let (found, seconds) = try_out(gpu, &plan, &operands)?;
            Ok((plan, found, seconds))
        });
        let (plan, found, seconds) = match tried {
            Ok(tried) => tried,
            Err(lost @ Error::DeviceLost { .. }) => return Err(lost),
            Err(error) => {
                dismiss(&error.to_string());
                continue;
            }
        };
        match &reference {
            None if !operands.is_right(&found) => dismiss("its result is wrong; see `fretwork doctor`"),
            Some(bits) if !same_bits(bits, &found) => {
                dismiss(if operands.is_right(&found) {
                    "its result differs in its last bits"
                } else {
                    "its result is wrong; see `fretwork doctor`"
                });
            }
            _ => {
                reference.get_or_insert(found);
                runners.push(Runner { choice, plan, best: seconds });
            }
        }
    }

    let fastest = best_of(&runners);
    runners.retain(|runner| runner.best <= HOPELESS * fastest);
    let repeats = repeats(fastest);
    for round in 0..ROUNDS {
        // A single candidate needs no timing.
        if runners.len() < 2 || round > 1 && Instant::now() > deadline {
            break;
        }
        for runner in &mut runners {
            runner.best = runner.best.min(time(gpu, &runner.plan, repeats)?);
        }
    }
    let fastest = best_of(&runners);
    let winner = runners
        .iter()
        .find(|runner| runner.choice == default && runner.best <= MARGIN * fastest)
        .or_else(|| runners.iter().find(|runner| runner.best <= fastest));
    let Some(winner) = winner else { return Ok(Measured { verdict: None, notices }) };
    let versus_dense = versus_dense(gpu, &scaled, winner, deadline)?;
    Ok(Measured { verdict: Some(Verdict { choice: winner.choice, versus_dense }), notices })
}

/// Candidates: every variant that the device runs. On a CPU barriers and workgroup memory cost a multiple of what they save, and
/// kernels with them take longest to compile. Cooperative matrices have bits of their own, so they compete with each other alone.
fn candidates(gpu: &Gpu, work: &Workload, default: Choice) -> Vec<Choice> {
    let worth_it = |choice: &Choice| {
        let same = choice.small
            && match choice.variant {
                Variant::Coop => tiling(gpu, work, true) == tiling(gpu, work, false),
                // A workgroup of SDD computes no less than 64 x 64 elements of such blocks.
                _ => work.family == Family::Sdd && work.block >= 64,
            };
        let costly = choice.variant == Variant::Tile && gpu.is_software();
        gpu.runs(choice.variant) && choice.is_alike(default) && choice.is_for(work.block) && !same && !costly
    };
    Choice::ALL.into_iter().filter(worth_it).collect()
}

/// Records all candidates in parallel, since compilation dominates the time of drivers that compile when recording.
fn record_all(gpu: &Gpu, choices: &[Choice], operands: &Operands) -> Vec<Result<Plan>> {
    let record = |choice: Choice| {
        let forced = gpu.with_choice(Some(choice));
        let mut rec = Recorder::new(&forced);
        operands.record(&mut rec)?;
        rec.finish()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = choices.iter().map(|&choice| scope.spawn(move || record(choice))).collect();
        let panicked =
            |_| Error::Rejected { label: "tuning".to_owned(), message: "a thread panicked".to_owned() };
        threads.into_iter().map(|thread| thread.join().map_err(panicked).and_then(|plan| plan)).collect()
    })
}

/// Runs a plan: its result, and the seconds of the better of two more runs, which no longer have to make anything ready.
fn try_out(gpu: &Gpu, plan: &Plan, operands: &Operands) -> Result<(Vec<f32>, f64)> {
    operands.poison(gpu)?;
    gpu.run(plan)?;
    let found = operands.read(gpu)?;
    Ok((found, time(gpu, plan, 1)?.min(time(gpu, plan, 1)?)))
}

/// Seconds of a plan that is repeated in one submission.
fn time(gpu: &Gpu, plan: &Plan, repeats: usize) -> Result<f64> {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    (0..repeats).for_each(|_| plan.encode(&mut encoder));
    let commands = encoder.finish();
    let started = Instant::now();
    gpu.submit([commands])?;
    gpu.finish()?;
    Ok(started.elapsed().as_secs_f64() / repeats as f64)
}

/// Compares a product with the dense one of its sizes in interleaved rounds, if the dense one could be faster. Allocates the
/// sparse matrix as a dense one of at most [`ELEMENTS`], for the time of the measurement.
fn versus_dense(
    gpu: &Gpu,
    work: &Workload,
    sparse: &Runner,
    deadline: Instant,
) -> Result<Option<VersusDense>> {
    let density = work.density();
    if work.family == Family::Dense || density < SPARSE || work.gathered > 0 {
        return Ok(None);
    }
    let work = Workload { family: Family::Dense, block: 0, nnz: 0, ..*work };
    let dense = Operands::new(gpu, work).and_then(|operands| {
        let plan = record_all(gpu, &[default_variant(gpu, &work)], &operands).remove(0)?;
        let (found, seconds) = try_out(gpu, &plan, &operands)?;
        Ok((plan, operands.is_right(&found), seconds))
    });
    let (plan, mut best) = match dense {
        Ok((plan, true, seconds)) => (plan, seconds),
        Err(lost @ Error::DeviceLost { .. }) => return Err(lost),
        // Without a correct dense product there is no comparison.
        Ok(_) | Err(_) => return Ok(None),
    };
    let mut sparse_best = sparse.best;
    let [sparse_repeats, dense_repeats] = [sparse_best, best].map(repeats);
    for round in 0..ROUNDS {
        if round > 1 && Instant::now() > deadline {
            break;
        }
        sparse_best = sparse_best.min(time(gpu, &sparse.plan, sparse_repeats)?);
        best = best.min(time(gpu, &plan, dense_repeats)?);
    }
    Ok(Some(VersusDense { density, time: sparse_best / best }))
}

/// Repetitions in a submission of a kernel that takes so many seconds.
fn repeats(seconds: f64) -> usize {
    (LEAST.as_secs_f64() / seconds).clamp(1.0, REPEATS) as usize
}

fn best_of(runners: &[Runner]) -> f64 {
    runners.iter().map(|runner| runner.best).fold(f64::INFINITY, f64::min)
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    bytemuck::cast_slice::<f32, u8>(a) == bytemuck::cast_slice::<f32, u8>(b)
}

/// A shape that takes no more than so many operations and no more than [`ELEMENTS`] a matrix, of the same blocks, density and
/// remainders.
fn shrink(mut work: Workload, operations: usize) -> Workload {
    let density = work.density();
    let too_much = |work: &Workload| {
        let [m, n, k] = work.sizes;
        let matrices = [m * k, k * n, m * n].into_iter().any(|elements| elements > ELEMENTS);
        matrices || 2.0 * (m * n * k) as f64 * density > operations as f64
    };
    while too_much(&work) {
        let Some(largest) = work.sizes.iter_mut().max().filter(|size| **size > 256) else { break };
        // Blocks of every size divide 128.
        *largest = *largest / 256 * 128 + *largest % 4;
    }
    if work.family != Family::Dense {
        work.nnz = ((work.places() as f64 * density).round() as usize).clamp(1, work.places());
    }
    let rows = if work.family == Family::Sdd { work.sizes[0] } else { work.sizes[2] };
    work.gathered = work.gathered.min(rows);
    work
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::DType;

    #[test]
    fn large_shapes_shrink_and_stay_what_they_are() {
        let work = Workload {
            family: Family::Dds,
            dtype: DType::F32,
            transpose: [false, true],
            sizes: [130, 65_536, 65_536],
            block: 16,
            nnz: 1 << 20,
            gathered: 0,
        };
        let scaled = shrink(work, 1 << 28);
        let [m, n, k] = scaled.sizes;
        assert_eq!(m, 130);
        assert!(n % 128 == 0 && k % 128 == 0 && n * k <= ELEMENTS);
        assert!(2.0 * (m * n * k) as f64 * scaled.density() <= f64::from(1 << 28));
        assert!((scaled.density() - work.density()).abs() < 1e-3);
        let small = Workload { sizes: [5, 16, 32], nnz: 1, ..work };
        assert_eq!(shrink(small, 1 << 28), small);
        // Halving terminates for all remainders and bounds.
        for side in 1..1000 {
            let dense = Workload { family: Family::Dense, sizes: [side; 3], nnz: 0, block: 0, ..work };
            assert!(shrink(dense, 0).sizes.iter().all(|&size| size <= side.min(256)));
        }
    }
}
