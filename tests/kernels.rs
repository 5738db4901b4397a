//! Every kernel is right on the adapter at hand.

use fretwork::check::{self, Verdict};
use fretwork::gpu::{Gpu, Options};

#[test]
fn every_known_answer() {
    let gpu = Gpu::request(Options::default()).unwrap();
    println!("{} ({})", gpu.info().name, gpu.driver());
    let mut wrong = Vec::new();
    for check in check::table() {
        match check.run(&gpu) {
            Ok(Verdict::Right(_)) => {}
            Ok(Verdict::Wrong(why)) => wrong.push(format!("{}: {why}", check.name)),
            Err(error) => wrong.push(format!("{}: {error}", check.name)),
        }
    }
    assert!(wrong.is_empty(), "{} kernels are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
