//! Operands and results at offsets of one buffer, as pooling allocators place them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use fretwork::check::{self, Check, Verdict};
use fretwork::gpu::{Class, DType, Gpu, Options, Recorder, Tensor, Variant};
use fretwork::ops::{self, Transpose};
use fretwork::sparse::{BlockMatrix, Pattern, Topology};
use fretwork::wgpu;

const CUT: Option<u64> = Some(1 << 24);

/// The first check of each kernel, in whichever permutation comes first.
#[test]
fn each_kernel_is_right_in_one_buffer() {
    let mut seen = BTreeSet::new();
    let table = check::table();
    compare(table.iter().filter(|check| {
        let kernel = check.name.split('.').take_while(|part| !matches!(*part, "f32" | "f16" | "u32"));
        seen.insert(kernel.collect::<Vec<_>>().join("."))
    }));
    assert!(seen.len() > 50, "{seen:?}");
}

#[test]
#[ignore = "12 minutes: compiles every permutation a second time"]
fn every_check_is_right_in_one_buffer() {
    compare(check::table().iter());
}

/// Each check has the same verdict, to the last digit of its largest error, where all its tensors lie in one buffer. With a
/// twin's wanted values, equal errors are equal bits of the element that errs most.
fn compare<'c>(checks: impl Iterator<Item = &'c Check>) {
    let open = || -> fretwork::Result<_> {
        let device = |cut_from| Gpu::request(Options { cut_from, ..Options::default() });
        Ok([device(None)?, device(CUT)?])
    };
    let any = Gpu::request(Options::default()).unwrap();
    check::parallel_for_each(
        &check::by_kernel(checks),
        any.compilers(),
        open,
        |[apart, together], checks| -> fretwork::Result<()> {
            for check in checks.iter().filter(|check| check.applies_to(apart)) {
                let verdict = check.run(together)?;
                assert!(matches!(verdict, Verdict::Right(_)), "{}: {verdict:?}", check.name);
                assert_eq!(verdict, check.run(apart)?, "{}", check.name);
            }
            Ok(())
        },
    )
    .unwrap();
}

/// A product's operands and result in a caller's buffer, with the bits of tensors in buffers of their own.
#[test]
fn a_product_in_a_callers_buffer_has_the_same_bits() {
    const ROWS: usize = 24;
    let gpu = Gpu::request(Options::default()).unwrap();
    let topology = Topology::from_coordinates(32, 48, 16, &[(0, 2), (1, 0), (1, 1)]).unwrap();
    let pattern = Pattern::upload(&gpu, &topology).unwrap();
    let numbers = |count: usize| (0..count).map(|at| (at as f32 * 0.37).sin()).collect::<Vec<f32>>();
    let (x, w) = (numbers(ROWS * 48), numbers(topology.elements()));
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 1 << 16,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let shapes: [&[usize]; 3] = [&[ROWS, 48], &[3, 16, 16], &[ROWS, 32]];
    let apart = shapes.map(|shape| gpu.alloc::<f32>(Class::Scratch, "apart", shape).unwrap());
    let view =
        |at: usize| Tensor::view(&gpu, &buffer, [512, 8192, 16384][at], shapes[at], DType::F32).unwrap();
    let together = [0, 1, 2].map(view);
    for variant in Variant::ALIKE.into_iter().filter(|&variant| gpu.runs(variant)) {
        let run = |[lhs, values, out]: &[Tensor; 3]| {
            gpu.write(lhs, &x).unwrap();
            gpu.write(values, &w).unwrap();
            gpu.write(out, &[f32::NAN; ROWS * 32]).unwrap();
            let forced = gpu.with_variant(Some(variant));
            let mut rec = Recorder::new(&forced);
            let rhs = BlockMatrix::adopt(pattern.clone(), values.clone()).unwrap();
            ops::dds(&mut rec, lhs, &rhs, out, Transpose::NT, ops::Epilogue::None).unwrap();
            let plan = rec.finish().unwrap();
            gpu.run(&plan).unwrap();
            let label = plan.labels().next().unwrap().to_owned();
            (label, gpu.read::<f32>(out).unwrap().wait().unwrap())
        };
        let ((plain, wanted), (shared, found)) = (run(&apart), run(&together));
        assert_eq!(shared, format!("{plain}.shared0.shared1"));
        assert_eq!(found.map_bits(), wanted.map_bits());
    }
}

trait Bits {
    fn map_bits(&self) -> Vec<u32>;
}

impl Bits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|x| x.to_bits()).collect()
    }
}

/// Tensors that overlap a result, and topologies beside one, are refused by name.
#[test]
fn overlaps_are_refused() {
    let gpu = Gpu::request(Options { cut_from: CUT, ..Options::default() }).unwrap();
    let whole = gpu.alloc::<f32>(Class::Scratch, "whole", &[64, 16]).unwrap();
    let [lhs, rhs] = [whole.rows(0, 16).unwrap(), whole.rows(16, 16).unwrap()];
    let product = |out: &Tensor| {
        let mut rec = Recorder::new(&gpu);
        ops::dense(&mut rec, &lhs, &rhs, out, Transpose::NN, ops::Epilogue::None)
            .map_err(|error| error.to_string())
    };
    product(&whole.rows(32, 16).unwrap()).unwrap();
    let refused = product(&whole.rows(28, 16).unwrap()).unwrap_err();
    assert!(refused.contains("out should be in bytes of its own, since it or rhs is written"), "{refused}");
}
