//! Every public function that makes tensors, copies them or looks at them.

use fretwork::gpu::{Class, DType, Tensor};
use fretwork::wgpu;

use crate::bench::Bench;
use crate::calls::{Call, said};

/// Shapes without elements, and shapes with too many.
const SHAPES: [&[usize]; 9] = [
    &[],
    &[0],
    &[0, 3],
    &[3, 0],
    &[usize::MAX],
    &[usize::MAX, 0],
    &[0, usize::MAX, usize::MAX],
    &[usize::MAX / 4 - 2],
    &[1 << 31, 1 << 31, 1 << 31],
];

/// Everything that a tensor can be asked, and views of it.
pub(crate) fn question(tensor: &Tensor) {
    let _ = (tensor.shape(), tensor.dtype(), tensor.len(), tensor.is_empty(), tensor.bytes());
    let _ = (tensor.offset(), tensor.buffer(), format!("{tensor:?}"));
    for shape in SHAPES {
        said(tensor.reshape(shape));
    }
    for dtype in [DType::F32, DType::F16, DType::U32] {
        said(tensor.reinterpret(dtype));
    }
    for (start, count) in [(0, 0), (0, 1), (1, 0), (3, 1), (usize::MAX, 1), (1, usize::MAX), (usize::MAX, 0)]
    {
        said(tensor.rows(start, count));
    }
}

fn tensors(b: &Bench) {
    for shape in SHAPES {
        for class in [Class::Values, Class::Scratch] {
            let alloc = said(b.gpu.alloc::<f32>(class, "test", shape));
            let zeros = said(b.gpu.zeros::<u32>(class, "test", shape));
            let halves = said(b.gpu.alloc::<half::f16>(class, "test", shape));
            for tensor in [alloc, zeros, halves].into_iter().flatten() {
                question(&tensor);
            }
        }
        said(b.gpu.upload::<f32>(Class::Scratch, "test", shape, &[]));
        said(b.gpu.upload::<f32>(Class::Scratch, "test", shape, &[1.0]));
    }
}

/// Tensors of all kinds, on this device and another, as far as they can be had.
pub(crate) fn all_kinds(b: &Bench) -> Vec<Tensor> {
    let mut all = Vec::new();
    for gpu in [&b.gpu, &b.other] {
        for shape in [&[][..], &[0], &[3], &[2, 2]] {
            all.extend(said(gpu.alloc::<f32>(Class::Scratch, "test", shape)));
            all.extend(said(gpu.alloc::<u32>(Class::Values, "test", shape)));
            all.extend(said(gpu.alloc::<half::f16>(Class::Scratch, "test", shape)));
        }
    }
    for usage in [
        wgpu::BufferUsages::STORAGE,
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
    ] {
        // Whole, unaligned, mapped, destroyed, and one that ends amid four bytes.
        for (size, mapped_at_creation) in [(64, false), (64, true), (6, false)] {
            let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation };
            let buffer = b.gpu.device().create_buffer(&descriptor);
            for (offset, shape, dtype) in [
                (0, &[1][..], DType::F32),
                (4, &[3], DType::F32),
                (2, &[1], DType::F16),
                (0, &[3], DType::F16),
                (64, &[0], DType::U32),
            ] {
                all.extend(said(Tensor::view(&b.gpu, &buffer, offset, shape, dtype)));
            }
            if size == 64 && mapped_at_creation {
                continue;
            }
            if size == 64 {
                let gone = b.gpu.device().create_buffer(&descriptor);
                gone.destroy();
                all.extend(said(Tensor::view(&b.gpu, &gone, 0, &[3], DType::F32)));
            }
        }
    }
    all
}

fn copies(b: &Bench) {
    for tensor in all_kinds(b) {
        let values = vec![0.0f32; tensor.len()];
        said(b.gpu.write(&tensor, &values));
        said(b.gpu.write(&tensor, &vec![half::f16::ZERO; tensor.len()]));
        said(b.gpu.write::<u32>(&tensor, &[]));
        if let Some(mut pending) = said(b.gpu.read::<f32>(&tensor)) {
            said(pending.is_ready());
            said(pending.wait());
        }
        said(b.gpu.read::<half::f16>(&tensor)).map(|pending| said(pending.wait()));
        said(b.gpu.read::<u32>(&tensor)).map(|pending| said(pending.wait()));
    }
}

fn views(b: &Bench) {
    let storage = wgpu::BufferUsages::STORAGE;
    for usage in [storage, wgpu::BufferUsages::COPY_SRC] {
        let descriptor = wgpu::BufferDescriptor { label: None, size: 64, usage, mapped_at_creation: false };
        let buffer = b.gpu.device().create_buffer(&descriptor);
        for offset in [0, 1, 2, 4, 63, 64, 65, u64::MAX, u64::MAX - 3] {
            for shape in SHAPES {
                for dtype in [DType::F32, DType::F16] {
                    let view = said(Tensor::view(&b.gpu, &buffer, offset, shape, dtype));
                    assert!(view.is_none() || usage == storage);
                    view.iter().for_each(question);
                }
            }
        }
    }
}

/// The functions that each of these drives.
pub(crate) const ALL: &[(Call, &[&str])] = &[
    (
        tensors,
        &[
            "Gpu::alloc",
            "Gpu::zeros",
            "Gpu::upload",
            "Tensor::reshape",
            "Tensor::reinterpret",
            "Tensor::rows",
            "Tensor::shape",
            "Tensor::dtype",
            "Tensor::len",
            "Tensor::is_empty",
            "Tensor::bytes",
            "Tensor::offset",
            "Tensor::buffer",
        ],
    ),
    (views, &["Tensor::view"]),
    (copies, &["Gpu::write", "Gpu::read", "Pending::is_ready", "Pending::wait"]),
];
