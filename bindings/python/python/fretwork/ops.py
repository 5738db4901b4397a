"""Products on NumPy arrays, one at a time: for checking and teaching. A training keeps its operands on the device instead.

Names say where the sparse operand is: ``sdd`` makes a block-sparse matrix of two dense ones, ``dsd`` has a block-sparse left operand,
``dds`` a block-sparse right one. Operands are arrays that speak DLPack or that NumPy reads, and are converted to float32; results are
NumPy arrays of float32. ``transpose`` is two letters, for the left and the right operand: ``"nt"`` is ``lhs @ rhs.T``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _fretwork
from ._arrays import as_array, whole
from .errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BlockMatrix", "Pattern", "dds", "dense", "dsd", "sdd"]


class Pattern:
    """Which blocks of a ``[rows, cols]`` matrix exist, as a block-CSR index: that of PyTorch's BSR tensors.

    ``crow_indices`` ``[rows / block + 1]`` says where each row of blocks begins in ``col_indices`` ``[nnz]``, the columns of its blocks.
    """

    def __init__(self, shape: tuple[int, int], block: int, crow_indices: Any, col_indices: Any) -> None:
        self.shape = _sides(shape)
        self.block = whole("block", block, 1)
        self.crow_indices = _index("crow_indices", crow_indices)
        self.col_indices = _index("col_indices", col_indices)

    @classmethod
    def random(cls, shape: tuple[int, int], block: int, density: float, seed: int = 0) -> Pattern:
        """Pattern of a share ``density`` of the blocks, rounded and at least one, drawn uniformly."""
        if not 0 < density <= 1:
            raise ArgumentError(f"density: should be above 0 and at most 1, but is {density}")
        (rows, cols), block = _sides(shape), whole("block", block, 1)
        nnz = max(1, round(density * (rows // block) * (cols // block)))
        return cls(shape, block, *_fretwork.random_pattern([rows, cols], block, nnz, whole("seed", seed)))

    @classmethod
    def of_mask(cls, mask: Any, block: int) -> Pattern:
        """Pattern of the blocks in which ``mask`` ``[rows, cols]`` is anywhere true, or other than 0."""
        mask = np.asarray(mask)
        if mask.ndim != 2 or block <= 0 or mask.shape[0] % block or mask.shape[1] % block:
            raise ArgumentError(f"mask: should be a matrix of whole blocks of {block}, but is of {list(mask.shape)}")
        places = mask.reshape(mask.shape[0] // block, block, -1, block).any((1, 3))
        crow = np.concatenate([[0], places.sum(1).cumsum()])
        return cls(mask.shape, block, crow, np.nonzero(places)[1])

    @property
    def nnz(self) -> int:
        """Number of blocks."""
        return len(self.col_indices)

    @property
    def row_indices(self) -> NDArray[np.int64]:
        """Row of each block, ``[nnz]``."""
        return np.repeat(np.arange(len(self.crow_indices) - 1), np.diff(self.crow_indices))

    def mask(self) -> NDArray[np.bool_]:
        """True in the blocks, ``[rows, cols]``."""
        places = np.zeros((self.shape[0] // self.block, self.shape[1] // self.block), bool)
        places[self.row_indices, self.col_indices] = True
        return places.repeat(self.block, 0).repeat(self.block, 1)

    def gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        """The blocks of a dense matrix, ``[nnz, block, block]``."""
        if dense.shape != self.shape:
            raise ArgumentError(f"dense: should be of shape {list(self.shape)}, but is of {list(dense.shape)}")
        b = self.block
        tiles = dense.reshape(self.shape[0] // b, b, self.shape[1] // b, b).swapaxes(1, 2)
        return np.ascontiguousarray(tiles[self.row_indices, self.col_indices])

    def scatter(self, values: NDArray[Any]) -> NDArray[Any]:
        """The dense matrix of ``values`` ``[nnz, block, block]``, with zeros in the place of absent blocks."""
        b = self.block
        tiles = np.zeros((self.shape[0] // b, self.shape[1] // b, b, b), values.dtype)
        tiles[self.row_indices, self.col_indices] = values
        return tiles.swapaxes(1, 2).reshape(self.shape)

    def __repr__(self) -> str:
        return f"<fretwork.ops.Pattern: {self.nnz} blocks of {self.block} in {self.shape[0]} x {self.shape[1]}>"

    def _parts(self):
        return list(self.shape), self.block, (self.crow_indices, self.col_indices)


class BlockMatrix:
    """A pattern and the values of its blocks, ``[nnz, block, block]``."""

    def __init__(self, pattern: Pattern, values: Any) -> None:
        values = as_array("values", values)
        wanted = (pattern.nnz, pattern.block, pattern.block)
        if values.shape != wanted:
            raise ArgumentError(f"values: should be of shape {list(wanted)}, but are of {list(values.shape)}")
        self.pattern = pattern
        self.values = values

    @classmethod
    def of_dense(cls, dense: Any, block: int) -> BlockMatrix:
        """The blocks of a dense matrix that are not 0."""
        dense = as_array("dense", dense)
        pattern = Pattern.of_mask(dense, block)
        return cls(pattern, pattern.gather(dense))

    def to_dense(self) -> NDArray[np.float32]:
        """The matrix with its absent blocks as zeros, ``[rows, cols]``."""
        return self.pattern.scatter(self.values)


def dense(lhs: Any, rhs: Any, *, transpose: str = "nn") -> NDArray[np.float32]:
    """Product of two dense matrices."""
    return _fretwork.dense(_matrix("lhs", lhs), _matrix("rhs", rhs), _flags(transpose))


def sdd(lhs: Any, rhs: Any, pattern: Pattern, *, transpose: str = "nn") -> BlockMatrix:
    """The blocks of a product of dense matrices that ``pattern`` has, a :class:`BlockMatrix`."""
    values = _fretwork.sdd(_matrix("lhs", lhs), _matrix("rhs", rhs), pattern._parts(), _flags(transpose))
    return BlockMatrix(pattern, values)


def dsd(lhs: BlockMatrix, rhs: Any, *, transpose: str = "nn") -> NDArray[np.float32]:
    """Product of a :class:`BlockMatrix` ``lhs`` and a dense matrix."""
    return _fretwork.dsd(lhs.values, lhs.pattern._parts(), _matrix("rhs", rhs), _flags(transpose))


def dds(lhs: Any, rhs: BlockMatrix, *, transpose: str = "nn") -> NDArray[np.float32]:
    """Product of a dense matrix and a :class:`BlockMatrix` ``rhs``."""
    return _fretwork.dds(_matrix("lhs", lhs), rhs.values, rhs.pattern._parts(), _flags(transpose))


def _matrix(name, array):
    array = as_array(name, array)
    if array.ndim != 2:
        raise ArgumentError(f"{name}: should be a matrix, but is of shape {list(array.shape)}")
    return array


def _sides(shape):
    rows, cols = shape
    return whole("rows", rows, 1), whole("cols", cols, 1)


def _index(name, array):
    array = np.ascontiguousarray(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ArgumentError(f"{name}: should be a vector of whole numbers, but is of {array.dtype}{list(array.shape)}")
    return array.astype(np.int64)


def _flags(transpose):
    if len(transpose) != 2 or set(transpose) - set("nt"):
        raise ArgumentError(f"transpose: should be nn, nt, tn or tt, but is {transpose!r}")
    return [letter == "t" for letter in transpose]
