//! Work shared out to threads, for tests that compile many kernels.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fretwork::check::Check;
use fretwork::gpu::{Gpu, Options};

/// Does all jobs, on threads that `open` their own devices and take the next job that nobody has. A driver that runs on the CPU
/// compiles on one thread for each device, so there are as many as there are processors; of any other there is one.
pub(crate) fn share_out<J: Sync, D>(jobs: &[J], open: impl Fn() -> D + Sync, work: impl Fn(&D, &J) + Sync) {
    let software = Gpu::request(Options::default()).expect("an adapter").is_software();
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let thread = || {
        let devices = open();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(&devices, job);
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors.min(if software { 8 } else { 1 }) {
            scope.spawn(thread);
        }
    });
}

/// Checks to be shared out: those of one kernel go to one thread, or two would compile it at once.
#[allow(dead_code, reason = "not every test that shares out work runs the table")]
pub(crate) fn by_kernel<'c>(checks: impl IntoIterator<Item = &'c Check>) -> Vec<Vec<&'c Check>> {
    let mut by_kernel = BTreeMap::<_, Vec<_>>::new();
    for check in checks {
        by_kernel.entry(check.name.split([' ', '(']).next()).or_default().push(check);
    }
    by_kernel.into_values().collect()
}
