//! A part of the table that takes a CPU's driver less than a minute, and how long the rest takes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Check, by_kernel};
use crate::gpu::Gpu;

/// Side of a block where a run is told nothing else.
const BLOCK: u32 = 16;

/// How long a CPU's driver takes to compile a kernel and check it, on one thread: lavapipe on two cores, rounded up.
const KERNEL_TIME: Duration = Duration::from_millis(1200);

/// Checks of the kernels that a run uses where it is told nothing else: in f32, the variants that the device takes by itself,
/// and blocks of 16, or whatever blocks a kernel is checked with that has no check with these.
pub fn quick<'c>(gpu: &Gpu, table: impl IntoIterator<Item = &'c Check>) -> Vec<&'c Check> {
    let usual: Vec<&Check> = table.into_iter().filter(|check| check.is_usual(gpu)).collect();
    let with_block: BTreeSet<String> = usual
        .iter()
        .map(|check| split_block(&check.name))
        .filter_map(|(kernel, block)| (block == Some(BLOCK)).then_some(kernel))
        .collect();
    usual
        .into_iter()
        .filter(|check| match split_block(&check.name) {
            (_, None | Some(BLOCK)) => true,
            (kernel, Some(_)) => !with_block.contains(&kernel),
        })
        .collect()
}

/// How long a device takes for these checks where none of their kernels has been compiled before; `None` for a device that is
/// no CPU, where it is a matter of seconds.
pub fn compile_time<'c>(gpu: &Gpu, checks: impl IntoIterator<Item = &'c Check>) -> Option<Duration> {
    let kernels = by_kernel(checks).len() as u32;
    gpu.is_software().then(|| KERNEL_TIME * kernels / gpu.compilers() as u32)
}

/// A check's kernel without its block, and the block: `fretwork.dds.lane.f32.nt` and 16 of `fretwork.dds.lane.f32.b16.nt 8x8x8`.
fn split_block(name: &str) -> (String, Option<u32>) {
    let label = name.split([' ', '(']).next().unwrap_or_default();
    let block_of = |part: &str| part.strip_prefix('b').and_then(|digits| digits.parse().ok());
    let block = label.split('.').find_map(block_of);
    let rest: Vec<&str> = label.split('.').filter(|part| block_of(part).is_none()).collect();
    (rest.join("."), block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::gpu::Options;

    #[test]
    fn blocks_are_told_apart() {
        let split = |name| split_block(name);
        assert_eq!(
            split("fretwork.dds.lane.f32.b16.nt 8x8x8"),
            ("fretwork.dds.lane.f32.nt".into(), Some(16))
        );
        assert_eq!(
            split("fretwork.experts.backward.f32.b8(relu)"),
            ("fretwork.experts.backward.f32".into(), Some(8))
        );
        assert_eq!(split("fretwork.bits.count.f32"), ("fretwork.bits.count.f32".into(), None));
    }

    /// Every family of kernels is among them that the whole table has in f32, and far fewer kernels.
    #[test]
    fn no_family_is_left_out() {
        let gpu = Gpu::request(Options::default()).unwrap();
        let table = check::table();
        let few = quick(&gpu, &table);
        let families = |checks: &[&Check]| -> BTreeSet<String> {
            checks.iter().filter_map(|check| check.name.split('.').nth(1)).map(str::to_owned).collect()
        };
        let all: Vec<&Check> = table.iter().filter(|check| check.is_usual(&gpu)).collect();
        assert_eq!(families(&few), families(&all));
        assert!(!few.iter().any(|check| check.is_half()));
        let kernels = [by_kernel(few.iter().copied()).len(), by_kernel(&table).len()];
        println!("{kernels:?} kernels of {:?} checks", [few.len(), table.len()]);
        assert!(3 * kernels[0] < kernels[1], "{kernels:?}");
    }
}
