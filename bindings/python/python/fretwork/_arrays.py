"""Arrays of other libraries as NumPy arrays that the extension reads without a copy."""

import numpy as np

from .errors import ArgumentError

__all__ = ["as_array"]


def as_array(name, array, dtype=np.float32):
    """The numbers of ``array`` as a contiguous NumPy array of ``dtype`` in native byte order.

    Anything that speaks DLPack on the CPU, NumPy arrays, buffers and nested lists. An array that is so already is not copied; others are
    converted. Refused by ``name``: complex numbers, text and objects, arrays on another device, and numbers beyond the range of ``dtype``.
    """
    if not isinstance(array, np.ndarray) and hasattr(array, "__dlpack__"):
        array = _of_dlpack(name, array)
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise ArgumentError(f"{name}: should be an array of numbers, but {error}") from None
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"{name}: should be an array of real numbers, but is one of {array.dtype}")
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return array
    with np.errstate(over="ignore"):
        converted = np.array(array, dtype=dtype, order="C")
    if array.dtype.kind == "f" and np.isinf(converted).sum() > np.isinf(array).sum():
        raise ArgumentError(f"{name}: has numbers beyond the range of {np.dtype(dtype)}")
    if array.dtype.kind in "iu" and (converted.astype(np.float64) != array.astype(np.float64)).any():
        raise ArgumentError(f"{name}: has whole numbers that {np.dtype(dtype)} doesn't hold exactly; cast them to floats")
    return converted


def _of_dlpack(name, array):
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: should be an array on the CPU that shares its memory, but {error}") from None
