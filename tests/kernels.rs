//! Every kernel is right on the adapter at hand.

use fretwork::check::{self, Verdict};
use fretwork::gpu::{Gpu, Options};

#[test]
fn every_known_answer() {
    let gpu = Gpu::request(Options::default()).unwrap();
    println!("{} ({})", gpu.info().name, gpu.driver());
    let mut wrong = Vec::new();
    let (table, others): (Vec<_>, Vec<_>) =
        check::table().into_iter().partition(|check| check.applies_to(&gpu));
    if !others.is_empty() {
        println!("SKIPPED: {} checks of kernels that this adapter cannot run", others.len());
    }
    for check in table {
        match check.run(&gpu) {
            Ok(Verdict::Right(_)) => {}
            Ok(Verdict::Wrong(why)) => wrong.push(format!("{}: {why}", check.name)),
            Err(error) => wrong.push(format!("{}: {error}", check.name)),
        }
    }
    assert!(wrong.is_empty(), "{} kernels are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
