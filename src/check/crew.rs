//! Work shared out to threads, where many kernels are to be compiled.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Check;
use crate::gpu::Gpu;

/// More devices than that are more memory than they are worth.
const MOST: usize = 8;

/// Does all jobs, on threads that open their own device and take the next job that nobody has, until none is left or one
/// fails. A driver that runs on the CPU compiles on one thread for each device, so there are as many as there are processors;
/// of any other there is one.
///
/// # Errors
/// What was first to fail: a device that cannot be had, or a job.
pub fn share_out<J: Sync, D, E: Send>(
    jobs: &[J],
    gpu: &Gpu,
    open: impl Fn() -> Result<D, E> + Sync,
    work: impl Fn(&D, &J) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let member = || {
        let go_on = || {
            let device = open()?;
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(&device, job)?;
            }
            Ok(())
        };
        if let Err(error) = go_on() {
            // Nobody takes another job.
            next.store(jobs.len(), Ordering::Relaxed);
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors.min(if gpu.is_software() { MOST } else { 1 }) {
            scope.spawn(member);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Checks to be shared out: those of one kernel go to one thread, or two would compile it at once.
pub fn by_kernel<'c>(checks: impl IntoIterator<Item = &'c Check>) -> Vec<Vec<&'c Check>> {
    let mut by_kernel = BTreeMap::<_, Vec<_>>::new();
    for check in checks {
        by_kernel.entry(check.name.split([' ', '(']).next()).or_default().push(check);
    }
    by_kernel.into_values().collect()
}
