"""Training networks that are really sparse, on any GPU.

Weights are block-sparse from the first step to the last: an absent block costs no byte and no arithmetic. Kernels run on Vulkan, Metal
and DX12, and without a GPU on Mesa's lavapipe. Nothing is compiled or opened on import; the first use opens the device.

- :func:`train`, :func:`load`, :func:`export`: runs and trained networks, as the program ``fretwork`` makes them
- :func:`doctor`, :func:`adapters`, :func:`bench`: is every kernel right on this adapter, and how fast?
- :mod:`fretwork.ops`: products on NumPy arrays
- :class:`SparseMLPClassifier`, :class:`SparseMLPRegressor`: estimators of scikit-learn
- :mod:`fretwork.torch`: modules of PyTorch
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import errors
from .errors import Error

if TYPE_CHECKING:
    from . import ops, sklearn, torch
    from ._bench import BenchReport, bench
    from ._doctor import Diagnosis, adapters, doctor, options
    from ._predict import Net, load
    from ._train import Run, export, train
    from .sklearn import SparseMLPClassifier, SparseMLPRegressor

__version__ = "0.1.0"

#: Names that are imported at their first use, and where they are.
_LAZY = {
    "BenchReport": "_bench",
    "Diagnosis": "_doctor",
    "Net": "_predict",
    "Run": "_train",
    "SparseMLPClassifier": "sklearn",
    "SparseMLPRegressor": "sklearn",
    "adapters": "_doctor",
    "bench": "_bench",
    "doctor": "_doctor",
    "export": "_train",
    "load": "_predict",
    "options": "_doctor",
    "train": "_train",
}

#: Modules that are imported at their first use.
_MODULES = {"ops", "sklearn", "torch"}

__all__ = ["Error", "__version__", "errors", *_LAZY, *sorted(_MODULES)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, *_MODULES])
