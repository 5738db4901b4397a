//! Thread pool of checks and other jobs that compile kernels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::harness::Check;

/// Runs `work` for each job on a pool of `threads` threads, each with a device of its own from `open`, until all jobs are done or
/// one fails. [`Gpu::compilers`](crate::gpu::Gpu::compilers) is the number of threads that speeds up compilation.
///
/// # Errors
/// The first error of `open` or `work`.
pub fn parallel_for_each<J: Sync, D, E: Send>(
    jobs: &[J],
    threads: usize,
    open: impl Fn() -> Result<D, E> + Sync,
    work: impl Fn(&D, &J) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let thread = || {
        let run = || {
            let device = open()?;
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(&device, job)?;
            }
            Ok(())
        };
        if let Err(error) = run() {
            // No thread takes another job.
            next.store(jobs.len(), Ordering::Relaxed);
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(thread);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Checks grouped by kernel, as jobs of a thread pool: threads that share a kernel would compile it twice.
pub fn by_kernel<'c>(checks: impl IntoIterator<Item = &'c Check>) -> Vec<Vec<&'c Check>> {
    let mut by_kernel = BTreeMap::<_, Vec<_>>::new();
    for check in checks {
        by_kernel.entry(check.name.split([' ', '(']).next()).or_default().push(check);
    }
    by_kernel.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_is_done_once() {
        let jobs: Vec<usize> = (0..100).collect();
        let done = Mutex::new(Vec::new());
        let work = |(): &(), &job: &usize| -> Result<(), String> {
            done.lock().map_err(|error| error.to_string())?.push(job);
            Ok(())
        };
        assert_eq!(parallel_for_each(&jobs, 4, || Ok(()), work), Ok(()));
        let mut done = done.into_inner().expect("no thread panicked");
        done.sort_unstable();
        assert_eq!(done, jobs);
    }

    #[test]
    fn what_fails_first_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = |(): &(), &job: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if job == 3 { Err("the fourth") } else { Ok(()) }
        };
        let jobs: Vec<usize> = (0..100).collect();
        assert_eq!(parallel_for_each(&jobs, 1, || Ok(()), work), Err("the fourth"));
        assert_eq!(begun.into_inner(), 4);
        assert_eq!(parallel_for_each(&jobs, 2, || Err("no device"), |(): &(), _| Ok(())), Err("no device"));
        // Without jobs no device is opened.
        assert_eq!(parallel_for_each(&[0; 0], 2, || Err("no device"), |(): &(), _| Ok(())), Ok(()));
    }
}
