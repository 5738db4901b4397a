//! The part of the table that drivers on a CPU check in less than a minute, and estimates of the time.

use std::time::Duration;

use super::harness::Check;
use super::pool::by_kernel;
use crate::gpu::Gpu;

/// Processor time in which a CPU's driver compiles and checks a kernel, in the mean: 240 s for 123 kernels on lavapipe 25.0.7.
const KERNEL_TIME: Duration = Duration::from_millis(2000);

/// Checks of the kernels of a perceptron in f32 with blocks of 16 and a method that exchanges blocks, by name without `fretwork.`
/// and without the variant of a product.
const OF_A_RUN: &[&str] = &[
    "dds.f32.b16.nt.forward(relu, dropout 0)",
    "dds.f32.b16.nn.backward(relu, dropout 0)",
    "dense.f32.nt.bias",
    "dense.f32.nt.forward(relu, dropout 0)",
    "dense.f32.nn.backward(relu, dropout 0)",
    "dense.f32.tn",
    "sdd.f32.b16.tn",
    "bits.combine.f32(And)",
    "bits.combine.f32(AndNot)",
    "bits.combine.f32(Or)",
    "bits.count.f32",
    "bits.count.f32.add",
    "bits.present.f32",
    "blocks.renew.f32.b16",
    "blocks.renew.f32.b16.reviving.uniform",
    "fill.words.f32",
    "finite.activity.f32",
    "finite.scan.f32",
    "loss.softmax.f32",
    "optimizer.adamw.f32",
    "optimizer.adamw.f32.births",
    "optimizer.sgd.f32.nesterov",
    "pattern.empty.f32",
    "pattern.index.f32.inactive",
    "pattern.slots.f32",
    "pattern.swap.f32 b16",
    "random.fill.f32.uniform",
    "reduce.sum.f32",
    "reduce.sum.f32.add",
    "score.exclude.f32",
    "score.lane.f32.b16(Abs) 32 rows",
    "score.silent.f32.b16",
    "score.stored.f32",
    "score.stored.f32.except",
    "score.values.f32.b16(Abs)",
    "score.wave.f32.b16(Abs) 32 rows",
    "select.radix.f32(Largest) 0.3 of 117",
    "select.radix.f32(Smallest) 0.3 of 117",
];

/// Checks of the kernels that a perceptron with default options uses, with any method that exchanges blocks. Language models,
/// experts, f16 and other block sizes are left out.
pub fn quick<'c>(gpu: &Gpu, table: impl IntoIterator<Item = &'c Check>) -> Vec<&'c Check> {
    table
        .into_iter()
        .filter(|check| check.is_default(gpu) && OF_A_RUN.iter().any(|name| is_named(check, name)))
        .collect()
}

/// Whether a check has this name of [`OF_A_RUN`]; sizes may follow it.
fn is_named(check: &Check, wanted: &str) -> bool {
    let name = check.name.trim_start_matches("fretwork.");
    let name = match check.variant {
        Some(variant) => name.replacen(&format!(".{}.", variant.name()), ".", 1),
        None => name.to_owned(),
    };
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// Estimated time of the checks on a driver of a CPU that has not compiled their kernels before; `None` for other devices, which
/// take seconds.
pub fn compile_time<'c>(gpu: &Gpu, checks: impl IntoIterator<Item = &'c Check>) -> Option<Duration> {
    let kernels = by_kernel(checks).len() as u32;
    gpu.is_software().then(|| KERNEL_TIME * kernels / gpu.compilers() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::gpu::Options;

    /// Each name stands for a check that the device has, and there are few kernels.
    #[test]
    fn every_name_is_of_a_check() {
        let gpu = Gpu::request(Options::default()).unwrap();
        let table = check::table();
        let few = quick(&gpu, &table);
        for name in OF_A_RUN {
            assert!(table.iter().any(|check| is_named(check, name)), "{name}");
        }
        assert!(!few.iter().any(|check| check.is_half()));
        let kernels = [by_kernel(few.iter().copied()).len(), by_kernel(&table).len()];
        println!("{kernels:?} kernels of {:?} checks", [few.len(), table.len()]);
        assert!(kernels[0] >= 30 && 8 * kernels[0] < kernels[1], "{kernels:?}");
    }
}
