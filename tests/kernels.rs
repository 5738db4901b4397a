//! Every kernel is right on the adapter at hand.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fretwork::check::{self, Check, Verdict};
use fretwork::gpu::{Gpu, Options};

#[test]
fn every_known_answer() {
    let gpu = Gpu::request(Options::default()).unwrap();
    println!("{} ({})", gpu.info().name, gpu.driver());
    let (table, others): (Vec<_>, Vec<_>) =
        check::table().into_iter().partition(|check| check.applies_to(&gpu));
    if !others.is_empty() {
        println!("SKIPPED: {} checks of kernels that this adapter cannot run", others.len());
    }
    // A driver that runs on the CPU compiles on the thread that asks, so there are as many as there are processors, with a
    // device each.
    let threads =
        thread::available_parallelism().map_or(1, NonZero::get).min(if gpu.is_software() { 8 } else { 1 });
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let gpu = Gpu::request(Options::default()).unwrap();
        while let Some(check) = table.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(why) = verdict(check, &gpu) {
                wrong.lock().unwrap().push(format!("{}: {why}", check.name));
            }
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} kernels are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn verdict(check: &Check, gpu: &Gpu) -> Result<(), String> {
    match check.run(gpu) {
        Ok(Verdict::Right(_)) => Ok(()),
        Ok(Verdict::Wrong(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}
