//! A device for tests of half precision.

use fretwork::gpu::{Gpu, Options};

/// The best adapter there is, unless it has no f16: then it says that a test is skipped.
pub(crate) fn gpu() -> Option<Gpu> {
    let gpu = Gpu::request(Options::default()).unwrap();
    if !gpu.has_f16() {
        println!("SKIPPED: {} has no half precision", gpu.info().name);
        return None;
    }
    Some(gpu)
}
