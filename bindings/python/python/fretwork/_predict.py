"""Trained networks that predict."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _fretwork
from ._arrays import as_array
from .errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .ops import BlockMatrix

__all__ = ["Net", "load"]


class Net:
    """A trained network with the encoding of its data: standardised columns, categories, names of classes.

    Rows are one of

    - a path of a file of the kind the run was trained with,
    - a pandas or polars frame with the columns of the training table, the label's or not,
    - an array of numbers ``[rows, columns]`` in the units of the table or of the pixels, columns in the order of the training table
      without the label.
    """

    def __init__(self, inner: _fretwork.Predictor) -> None:
        self._inner = inner
        #: Settings of the run, a dict.
        self.settings: dict[str, Any] = json.loads(inner.settings)
        #: How rows are encoded, a dict; None for a text.
        self.encoding: dict[str, Any] | None = None if inner.encoding is None else json.loads(inner.encoding)
        #: Names of the classes in the order of the outputs: whole numbers where all names are; None for a regression.
        self.classes: NDArray[Any] | None = None if inner.regression else _names(inner.classes)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Predicts the class of each row, or the value of a regression in the units of the target; ``[rows]``."""
        rows = _rows(rows)
        if self.classes is None:
            return self._inner.values(rows)
        return self.classes[self._inner.likeliest(rows)]

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Predicts the probability of each class, ``[rows, classes]``."""
        return self._inner.probabilities(_rows(rows))

    def parameters(self) -> dict[str, NDArray[np.float32] | BlockMatrix]:
        """The parameters by name, ``layers.0.weight`` for one: arrays, and a :class:`fretwork.ops.BlockMatrix` ``[out, in]`` for a sparse
        weight. Sides are padded to multiples of the block.
        """
        from .ops import BlockMatrix, Pattern

        found = {}
        for name, shape, block, index, values in self._inner.parameters():
            if block is None:
                found[name] = values.reshape(shape)
            else:
                found[name] = BlockMatrix(Pattern(shape, block, *index), values.reshape(-1, block, block))
        return found

    def __repr__(self) -> str:
        return f"<fretwork.Net: {self.settings['data']}, {self._inner.steps} steps>"


def load(folder: str | os.PathLike[str], *, adapter: str | int | None = None) -> Net:
    """Loads the network of a run folder, as ``train(..., out=folder)`` left it. ``adapter``: index or name, as of :func:`doctor`."""
    return Net(_fretwork.Predictor.open(os.fspath(folder), None if adapter is None else str(adapter)))


def _names(names: list[str]) -> NDArray[Any]:
    """Names of classes as an array, of whole numbers where each name is one as Python writes it."""
    try:
        numbers = [int(name) for name in names]
    except ValueError:
        return np.array(names)
    return np.array(numbers if [str(number) for number in numbers] == names else names)


def _rows(rows: Any) -> Any:
    """Rows as the extension takes them: a path, bytes of CSV, or an array of float64."""
    if isinstance(rows, (str, os.PathLike)):
        return os.fspath(rows)
    for writer, options in (("to_csv", {"index": False}), ("write_csv", {})):
        if hasattr(rows, writer):
            return getattr(rows, writer)(**options).encode()
    array = as_array("rows", rows, np.float64)
    if array.ndim != 2:
        raise ArgumentError(f"rows: should be of shape [rows, columns], but are of {list(array.shape)}")
    return array
