//! Topologies and block matrices on the device.

use super::mask::BlockMask;
use super::packed::{self, Layout};
use super::topology::{Topology, check_size, grid};
use crate::gpu::{Args, Class, DType, Element, Gpu, Tensor};
use crate::{Error, Result};

/// A packed [`Topology`] on the device. Its blocks may change in place, on the device; their number, and with it the size of
/// all tensors of the matrix, may not.
#[derive(Debug, Clone)]
pub struct Pattern {
    row_blocks: usize,
    col_blocks: usize,
    block: usize,
    nnz: usize,
    /// Whether there may be fewer blocks than slots.
    bounded: bool,
    packed: Tensor,
}

impl Pattern {
    /// Uploads a topology.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn upload(gpu: &Gpu, topology: &Topology) -> Result<Self> {
        let words = topology.packed();
        let packed = gpu.upload(Class::Topology, "topology", &[words.len()], &words)?;
        Ok(Self::of(topology, packed))
    }

    /// A topology that a caller has packed into a buffer of its own, with [`Topology::packed`].
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if `packed` has another size or type than the topology's words.
    ///
    /// # Safety
    /// Kernels take indices from these words without bounds checks, unless the device was opened with
    /// [`checked_shaders`](crate::gpu::Options::checked_shaders). From the first operation on this pattern until its last
    /// clone is dropped, the buffer must hold the words of `topology.packed()`, and nothing but operations of this library
    /// may write to it.
    #[expect(unsafe_code, reason = "the words lie in a buffer that is not this library's to read")]
    pub unsafe fn adopt(topology: &Topology, packed: Tensor) -> Result<Self> {
        packed.expect_dtype("Pattern::adopt", "packed", DType::U32)?;
        packed.expect_shape("Pattern::adopt", "packed", &[topology.packed().len()])?;
        Ok(Self::of(topology, packed))
    }

    fn of(topology: &Topology, packed: Tensor) -> Self {
        let [row_blocks, col_blocks] = [topology.row_blocks(), topology.col_blocks()];
        let (block, nnz) = (topology.block(), topology.nnz());
        Self { row_blocks, col_blocks, block, nnz, bounded: false, packed }
    }

    /// Overwrites the topology by one of the same grid and number of blocks. Values stay in their slots.
    ///
    /// # Errors
    /// [`Error::Topology`](crate::Error::Topology) if sides, block or number of blocks differ, or if the pattern is
    /// [bounded](Pattern::bounded); those of [`Gpu::write`].
    pub fn replace(&self, gpu: &Gpu, topology: &Topology) -> Result<()> {
        let wanted = (self.rows(), self.cols(), self.block, self.nnz);
        let found = (topology.rows(), topology.cols(), topology.block(), topology.nnz());
        if self.bounded || wanted != found {
            let words = |(rows, cols, block, nnz)| format!("{nnz} blocks of {block} in {rows} x {cols}");
            let room = if self.bounded { "at most " } else { "" };
            let reason = format!("has {}, should have {room}{}", words(found), words(wanted));
            return Err(Error::Topology { reason });
        }
        gpu.write(&self.packed, &topology.packed())
    }

    /// An empty pattern for at most `most` blocks. Their number is known to the device alone, in a word of the header; tensors
    /// of the matrix have the size of `most` blocks, and kernels skip unused slots. A [`Routing`](super::Routing) has such a
    /// pattern.
    ///
    /// # Errors
    /// [`Error::Topology`](crate::Error::Topology) for sides or a number of blocks that no pattern has,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn bounded(gpu: &Gpu, rows: usize, cols: usize, block: usize, most: usize) -> Result<Self> {
        let [row_blocks, col_blocks] = grid(rows, cols, block)?;
        check_size(most, block)?;
        let layout = Layout::new(row_blocks, col_blocks, block, most);
        gpu.expect_buffer("topology", &[layout.words], DType::U32)?;
        let mut words = layout.header.to_vec();
        words[packed::NNZ] = 0;
        words.resize(layout.words, 0);
        let packed = gpu.upload(Class::Topology, "topology", &[words.len()], &words)?;
        Ok(Self { row_blocks, col_blocks, block, nnz: most, bounded: true, packed })
    }

    /// Allocates a pattern of `nnz` blocks of a matrix of this one's sides, to be filled by
    /// [`ops::fill_pattern`](crate::ops::fill_pattern).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for more blocks than places,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn sized_like(&self, gpu: &Gpu, nnz: usize) -> Result<Self> {
        if nnz > self.places() {
            return Err(Error::argument("Pattern", "nnz", format!("{} at most", self.places()), nnz));
        }
        check_size(nnz, self.block)?;
        let layout = Layout::new(self.row_blocks, self.col_blocks, self.block, nnz);
        let mut words = layout.header.to_vec();
        words.resize(layout.words, 0);
        let packed = gpu.upload(Class::Topology, "topology", &[words.len()], &words)?;
        Ok(Self { nnz, bounded: false, packed, ..self.clone() })
    }

    /// Reads the topology back. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), or [`Error::Topology`](crate::Error::Topology) if it breaks an invariant.
    pub fn topology(&self, gpu: &Gpu) -> Result<Topology> {
        let words = gpu.read::<u32>(&self.packed)?.wait()?;
        if self.bounded {
            return Topology::from_packed(&Topology::without_room(&words, self.nnz)?);
        }
        Topology::from_packed(&words)
    }

    /// Adds the packed words as an argument of a [dispatch](crate::gpu::Recorder::dispatch), bound to the buffer `name`:
    /// `topology` where the shader imports `common/topology`. A shader that writes to it is refused.
    #[must_use]
    pub fn bind<'a>(&'a self, args: Args<'a>, name: &'static str) -> Args<'a> {
        args.read_only(name, &self.packed)
    }

    /// The packed words. Kernels rely on their invariants without checks, so they are not public.
    pub(crate) fn packed(&self) -> &Tensor {
        &self.packed
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.row_blocks * self.block
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.col_blocks * self.block
    }

    /// Rows of blocks.
    pub fn row_blocks(&self) -> usize {
        self.row_blocks
    }

    /// Columns of blocks.
    pub fn col_blocks(&self) -> usize {
        self.col_blocks
    }

    /// Number of blocks of the grid, stored or absent.
    pub fn places(&self) -> usize {
        self.row_blocks * self.col_blocks
    }

    /// Side of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Number of stored blocks, or of slots if the pattern is [bounded](Pattern::bounded).
    pub fn nnz(&self) -> usize {
        self.nnz
    }

    /// Number of elements of these blocks.
    pub fn elements(&self) -> usize {
        self.nnz * self.block * self.block
    }

    fn shape(&self) -> [usize; 3] {
        [self.nnz, self.block, self.block]
    }
}

/// A pattern and one value per element of its blocks: `[nnz, block, block]`, a block per slot. Gradients and
/// optimizer state of a block matrix have the same layout.
#[derive(Debug, Clone)]
pub struct BlockMatrix {
    pattern: Pattern,
    values: Tensor,
}

impl BlockMatrix {
    /// Uploads values in slot order.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if there are not `nnz * block * block` values or the pattern is on another
    /// device, [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn upload<T: Element>(
        gpu: &Gpu,
        class: Class,
        label: &str,
        pattern: &Pattern,
        values: &[T],
    ) -> Result<Self> {
        gpu.expect_own(label, "pattern", pattern.packed.device())?;
        let values = gpu.upload(class, label, &pattern.shape(), values)?;
        Ok(Self { pattern: pattern.clone(), values })
    }

    /// A matrix with unspecified values, such as a gradient to be written.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if the pattern is on another device,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn alloc(gpu: &Gpu, class: Class, label: &str, pattern: &Pattern) -> Result<Self> {
        Self::alloc_of::<f32>(gpu, class, label, pattern)
    }

    /// [`BlockMatrix::alloc`] of another dtype, for f16 operands and results of products.
    ///
    /// # Errors
    /// The errors of [`BlockMatrix::alloc`].
    pub fn alloc_of<T: Element>(gpu: &Gpu, class: Class, label: &str, pattern: &Pattern) -> Result<Self> {
        gpu.expect_own(label, "pattern", pattern.packed.device())?;
        let values = gpu.alloc::<T>(class, label, &pattern.shape())?;
        Ok(Self { pattern: pattern.clone(), values })
    }

    /// Values that lie in a caller's buffer.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if `values` is not `[nnz, block, block]`, or on another device.
    pub fn adopt(pattern: Pattern, values: Tensor) -> Result<Self> {
        values.expect_beside("BlockMatrix::adopt", "values", &pattern.packed)?;
        values.expect_shape("BlockMatrix::adopt", "values", &pattern.shape())?;
        Ok(Self { pattern, values })
    }

    /// The matrix with its absent blocks written out as zeros, row-major. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn to_dense(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        Ok(self.pattern.topology(gpu)?.scatter(&gpu.read::<f32>(&self.values)?.wait()?))
    }

    /// The pattern of the matrix.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// `[nnz, block, block]`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }
}

/// A mask of the elements within blocks, on the device: a bit per stored element.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn upload_mask(gpu: &Gpu, mask: &BlockMask) -> Result<Tensor> {
    gpu.upload(Class::Topology, "mask", &[mask.words().len()], mask.words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Options;

    /// A bounded pattern with unused slots is validated like any other when it is read back.
    #[test]
    fn a_forged_pattern_with_room_is_refused() {
        let gpu = Gpu::request(Options::default()).unwrap();
        let pattern = Pattern::bounded(&gpu, 64, 96, 16, 10).unwrap();
        assert_eq!((pattern.nnz(), pattern.topology(&gpu).unwrap().nnz()), (10, 0));
        let words = gpu.read::<u32>(pattern.packed()).unwrap().wait().unwrap();
        for (at, word) in
            [(0, 7), (1, 5), (2, 1 << 30), (3, 12), (4, 11), (4, 3), (5, 9), (9, 0), (16, 1), (20, 2)]
        {
            let mut forged = words.clone();
            forged[at] = word;
            gpu.write(pattern.packed(), &forged).unwrap();
            assert!(matches!(pattern.topology(&gpu), Err(Error::Topology { .. })), "word {at} = {word}");
        }
    }

    #[test]
    fn only_a_topology_of_its_grid_and_count_replaces_a_pattern() {
        let gpu = Gpu::request(Options::default()).unwrap();
        let of = |[rows, cols]: [usize; 2], block, blocks: &[(u32, u32)]| {
            Topology::from_coordinates(rows, cols, block, blocks).unwrap()
        };
        let pattern = Pattern::upload(&gpu, &of([32, 48], 16, &[(0, 0), (1, 2)])).unwrap();
        let refusal =
            |pattern: &Pattern, topology: &Topology| pattern.replace(&gpu, topology).unwrap_err().to_string();
        for foreign in [
            of([48, 32], 16, &[(0, 0), (2, 1)]),
            of([32, 48], 16, &[(0, 0)]),
            of([32, 48], 8, &[(0, 0), (3, 5)]),
        ] {
            let said = refusal(&pattern, &foreign);
            assert!(said.contains("should have 2 blocks of 16 in 32 x 48"), "{said}");
        }
        let other = of([32, 48], 16, &[(1, 1), (0, 2)]);
        pattern.replace(&gpu, &other).unwrap();
        assert_eq!(pattern.topology(&gpu).unwrap(), other);
        let bounded = Pattern::bounded(&gpu, 32, 48, 16, 2).unwrap();
        assert!(refusal(&bounded, &other).contains("at most 2 blocks"));
        assert!(pattern.sized_like(&gpu, 6).is_ok());
        let said = pattern.sized_like(&gpu, 1 << 32).unwrap_err().to_string();
        assert!(said.contains("nnz should be 6 at most, but is 4294967296"), "{said}");
    }
}
