//! Every kernel is right on the adapter at hand.
//!
//! Cargo runs tests in the order of their names. This is the first of those that use a device: it compiles all kernels there are,
//! each once and on all processors, and a driver that keeps them has them for the others.

use std::sync::Mutex;

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
    let wrong = Mutex::new(Vec::new());
    let open = || Gpu::request(Options::default());
    check::parallel_for_each(&check::by_kernel(&table), gpu.compilers(), open, |gpu, checks| {
        for check in checks {
            if let Err(why) = verdict(check, gpu) {
                wrong.lock().unwrap().push(format!("{}: {why}", check.name));
            }
        }
        Ok(())
    })
    .unwrap();
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
