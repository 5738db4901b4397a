"""Arguments of other libraries' types: arrays as NumPy arrays that the extension reads without a copy, and whole numbers."""

import operator

import numpy as np

from ._versions import need
from .errors import ArgumentError

need("numpy", "NumPy", "1.23")

__all__ = ["as_array", "whole"]

#: Largest number that the extension takes.
_MOST = 2**63 - 1

#: Kinds of DLPack devices whose memory the CPU reads: its own, and pinned or managed memory of CUDA and ROCm.
_ON_CPU = {1, 3, 11, 13}


def whole(name, value, least=0):
    """``value`` as an int; refused by ``name`` if it is no whole number of at least ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name}: should be a whole number, but is {value!r}") from None
    if not least <= number <= _MOST:
        raise ArgumentError(f"{name}: should be a whole number of at least {least} and below 2**63, but is {number}")
    return number


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
    kind, place = array.__dlpack_device__() if hasattr(array, "__dlpack_device__") else (1, 0)
    if kind not in _ON_CPU:
        raise ArgumentError(f"{name}: should be an array on the CPU, but is on device {place} of DLPack's kind {int(kind)}")
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: should be an array on the CPU that shares its memory, but {error}") from None
