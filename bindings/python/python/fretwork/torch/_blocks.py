"""Block-sparse matrices as tensors: index arrays and values, as in PyTorch's BSR layout."""

import torch

__all__ = ["blocks_of", "bsr", "index_of", "rows_of", "to_dense"]

#: PyTorch 2 does not validate indices unless it is asked to; older versions always do.
_CHOOSES = hasattr(torch.sparse, "check_sparse_tensor_invariants")


def bsr(crow_indices, col_indices, values, size, validate=False):
    """BSR tensor that shares the memory of ``values``. Indices that come from outside are to be validated: RuntimeError where they are wrong."""
    options = {"check_invariants": validate} if _CHOOSES else {}
    return torch.sparse_bsr_tensor(crow_indices, col_indices, values.detach(), size=size, **options)


def index_of(places, rows, cols):
    """``crow_indices`` and ``col_indices`` of the blocks at these places of the grid, ascending."""
    counts = torch.bincount(places // cols, minlength=rows)
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]), places % cols


def rows_of(crow_indices):
    """Row of each block, ``[nnz]``."""
    return torch.arange(len(crow_indices) - 1).repeat_interleave(crow_indices.diff())


def to_dense(crow_indices, col_indices, values, cols):
    """The matrix of ``cols`` columns with zeros in the place of absent blocks; autograd goes through it."""
    b = values.shape[-1]
    rows, cols = len(crow_indices) - 1, cols // b
    tiles = values.new_zeros(rows * cols, b, b)
    tiles = tiles.index_copy(0, rows_of(crow_indices) * cols + col_indices, values)
    return tiles.reshape(rows, cols, b, b).transpose(1, 2).reshape(rows * b, cols * b)


def blocks_of(crow_indices, col_indices, dense, block):
    """The stored blocks of a dense matrix, ``[nnz, block, block]``."""
    rows, cols = (side // block for side in dense.shape)
    tiles = dense.reshape(rows, block, cols, block).transpose(1, 2)
    return tiles[rows_of(crow_indices), col_indices]
