"""Products on arrays, against NumPy in float64."""

import itertools

import numpy as np
import pytest

import fretwork as fw
from fretwork import ops

FLAGS = ["nn", "nt", "tn", "tt"]


def stored(matrix, flag):
    """The matrix as an operand holds it that is read by this letter."""
    return np.ascontiguousarray(matrix.T) if flag == "t" else matrix


def worst(found, lhs, rhs):
    """Largest error in units of what float32 sums of these operands may have."""
    lhs, rhs = lhs.astype(np.float64), rhs.astype(np.float64)
    bound = 2.0**-23 * (lhs.shape[1] + 2) * (np.abs(lhs) @ np.abs(rhs)) + 1e-30
    return (np.abs(found - lhs @ rhs) / bound).max()


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("block", [8, 16, 32, 64, 128])
def test_products_are_right(block, flags):
    rng = np.random.default_rng(block)
    m, n, k = 2 * block, 3 * block, 2 * block
    dense = {"lhs": rng.normal(size=(m, k)).astype(np.float32), "rhs": rng.normal(size=(k, n)).astype(np.float32)}
    sparse = {}
    for name, matrix in dense.items():
        flag = flags[name == "rhs"]
        of = stored(matrix, flag)
        pattern = ops.Pattern.random(of.shape, block, 0.5, seed=3)
        sparse[name] = ops.BlockMatrix(pattern, pattern.gather(of))
    lhs, rhs = stored(dense["lhs"], flags[0]), stored(dense["rhs"], flags[1])
    assert worst(ops.dense(lhs, rhs, transpose=flags), dense["lhs"], dense["rhs"]) < 1
    left = stored(sparse["lhs"].to_dense(), flags[0])
    assert worst(ops.dsd(sparse["lhs"], rhs, transpose=flags), left, dense["rhs"]) < 1
    right = stored(sparse["rhs"].to_dense(), flags[1])
    found = ops.dds(lhs, sparse["rhs"], transpose=flags)
    assert worst(found, dense["lhs"], right) < 1
    # A wrong block is no rounding.
    wrong = found.copy()
    wrong[:block, :block] = 0
    assert worst(wrong, dense["lhs"], right) > 1
    pattern = ops.Pattern.random((m, n), block, 0.5, seed=4)
    out = ops.sdd(lhs, rhs, pattern, transpose=flags)
    mask = pattern.mask()
    assert out.values.shape == (pattern.nnz, block, block)
    assert worst(np.where(mask, out.to_dense(), dense["lhs"].astype(float) @ dense["rhs"]), dense["lhs"], dense["rhs"]) < 1
    assert (out.to_dense()[~mask] == 0).all()


@pytest.mark.parametrize("rows, cols, inner", [(1, 1, 1), (3, 5, 7), (33, 17, 65)])
def test_dense_products_of_any_size(rows, cols, inner):
    rng = np.random.default_rng(1)
    lhs, rhs = rng.normal(size=(rows, inner)), rng.normal(size=(inner, cols))
    lhs32, rhs32 = lhs.astype(np.float32), rhs.astype(np.float32)
    assert worst(ops.dense(lhs, rhs), lhs32, rhs32) < 1


def test_arrays_of_other_types_are_converted():
    rng = np.random.default_rng(2)
    lhs, rhs = rng.integers(-5, 5, (6, 8)), rng.integers(-5, 5, (8, 4))
    wanted = (lhs @ rhs).astype(np.float32)
    big = rng.integers(-5, 5, (12, 16))
    big[::2, ::2] = lhs
    for array in [
        lhs,
        lhs.astype(np.float64),
        lhs.astype(np.float16),
        lhs.astype(">f4"),
        lhs.astype(">i8"),
        np.asfortranarray(lhs.astype(np.float32)),
        big[::2, ::2],
        lhs.tolist(),
        memoryview(lhs.astype(np.float32)),
    ]:
        assert np.array_equal(ops.dense(array, rhs), wanted), type(array)
    assert np.array_equal(ops.dense(lhs > 0, rhs), ((lhs > 0) @ rhs).astype(np.float32))


def test_contiguous_arrays_are_not_copied():
    from fretwork._arrays import as_array

    array = np.zeros((3, 4), np.float32)
    assert as_array("x", array) is array
    assert np.shares_memory(as_array("x", Speaks(array)), array)


class Speaks:
    """An array that speaks DLPack and nothing else."""

    def __init__(self, array, device=None):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.device or self.array.__dlpack_device__()


def test_dlpack():
    rng = np.random.default_rng(5)
    lhs, rhs = rng.normal(size=(4, 8)), rng.normal(size=(8, 4)).astype(np.float32)
    assert np.array_equal(ops.dense(Speaks(lhs), Speaks(rhs)), ops.dense(lhs, rhs))


def test_what_cannot_be_converted_is_refused_by_name():
    right = np.ones((2, 2), np.float32)
    for array, text in [
        (np.ones((2, 2), complex), "rhs: should be an array of real numbers, but is one of complex128"),
        (np.array([["a", "b"]] * 2), "rhs: should be an array of real numbers"),
        (np.array([[None, 1]] * 2), "rhs: should be an array of real numbers, but is one of object"),
        # NumPy before 1.24 makes it one of objects.
        ([[1, 2], [3]], "rhs: should be an array of (real )?numbers"),
        (np.full((2, 2), 1e39), "rhs: has numbers beyond the range of float32"),
        (np.full((2, 2), 2**24 + 1), "rhs: has whole numbers that float32 doesn't hold exactly"),
        (np.ones(2), "rhs: should be a matrix, but is of shape \\[2\\]"),
        (np.ones((2, 2, 2)), "rhs: should be a matrix"),
        (np.ones((3, 2)), "dense: rhs should be of 2 along the contraction"),
        (np.ones((2, 0)), "rhs"),
        (Speaks(right, device=(2, 0)), "rhs: should be an array on the CPU"),
    ]:
        with pytest.raises(fw.Error, match=text):
            ops.dense(right, array)
    with pytest.raises(fw.errors.ArgumentError, match="transpose: should be nn, nt, tn or tt, but is 'x'"):
        ops.dense(right, right, transpose="x")
    assert np.isinf(ops.dense(np.full((2, 2), np.inf), right)).all()


def test_patterns_from_outside_are_validated():
    values = np.zeros((2, 8, 8), np.float32)
    rhs = np.zeros((16, 4))
    for crow, col, text in [
        ([0, 1], [0, 1], "row pointers"),
        ([0, 2, 1], [0, 1], "row pointers fall"),
        ([0, 2, 2], [0, 9], "outside"),
        ([0, 2, 2], [1, 1], "do not ascend"),
        ([0, 2, 2], [-1, 1], "below 0"),
    ]:
        pattern = ops.Pattern((16, 16), 8, crow, col)
        with pytest.raises(fw.errors.TopologyError, match=text):
            ops.dsd(ops.BlockMatrix(pattern, values), rhs)
    for shape, block in [((16, 16), 7), ((16, 20), 8), ((0, 16), 8), ((16, 16), -8), ((16, 16), 0)]:
        with pytest.raises(fw.Error):
            ops.Pattern.random(shape, block, 0.5)
    with pytest.raises(fw.errors.ArgumentError, match="block: should be a whole number of at least 1 .* but is -8"):
        ops.Pattern((16, 16), -8, [0, 0, 0], [])
    with pytest.raises(fw.errors.ArgumentError, match="seed: should be a whole number of at least 0 .* but is -1"):
        ops.Pattern.random((16, 16), 8, 0.5, seed=-1)
    with pytest.raises(fw.errors.ArgumentError, match="rows: should be a whole number, but is 16.5"):
        ops.Pattern.random((16.5, 16), 8, 0.5)
    with pytest.raises(fw.errors.ArgumentError, match="values: should be of shape \\[1, 8, 8\\]"):
        ops.BlockMatrix(ops.Pattern((16, 16), 8, [0, 1, 1], [0]), values)
    with pytest.raises(fw.errors.ArgumentError, match="col_indices: should be a vector of whole numbers"):
        ops.Pattern((16, 16), 8, [0, 1, 1], [0.5])


def test_patterns_of_masks_and_back():
    rng = np.random.default_rng(6)
    for block, density in itertools.product([8, 16], [0.1, 1.0]):
        pattern = ops.Pattern.random((64, 32), block, density, seed=1)
        again = ops.Pattern.of_mask(pattern.mask(), block)
        assert np.array_equal(pattern.crow_indices, again.crow_indices) and np.array_equal(pattern.col_indices, again.col_indices)
        dense = rng.normal(size=(64, 32)).astype(np.float32) * pattern.mask()
        assert np.array_equal(ops.BlockMatrix.of_dense(dense, block).to_dense(), dense)
    with pytest.raises(fw.errors.ArgumentError, match="mask: should be a matrix of whole blocks of 8"):
        ops.Pattern.of_mask(np.ones((12, 8)), 8)
