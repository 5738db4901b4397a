"""Estimators of scikit-learn: block-sparse multi-layer perceptrons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _fretwork
from ._progress import watcher
from ._train import arguments
from ._versions import need

need("numpy", "NumPy", "1.23")
need("sklearn", "scikit-learn", "1.6")

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # noqa: E402
from sklearn.utils import check_random_state, column_or_1d  # noqa: E402
from sklearn.utils.multiclass import check_classification_targets  # noqa: E402
from sklearn.utils.validation import check_is_fitted, validate_data  # noqa: E402

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor"]


class _Trained:
    """A checkpoint's bytes, which are what is pickled and copied, and its network on the device, made at the first prediction."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint
        self._network = None

    def network(self):
        if self._network is None:
            self._network = _fretwork.Predictor.of_bytes(self.checkpoint)
        return self._network

    def __reduce__(self):
        return _Trained, (self.checkpoint,)


class _SparseMLP(BaseEstimator):
    def __init__(
        self,
        hidden: Sequence[int] | int = (512, 512),
        *,
        sparsity: float | None = 0.9,
        block: int = 16,
        init: str = "erk",
        method: str = "static",
        activation: str = "relu",
        dropout: float = 0.0,
        epochs: int | None = None,
        batch: int = 128,
        optimizer: str = "adamw",
        lr: float | None = None,
        schedule: str = "one-cycle",
        momentum: float = 0.9,
        weight_decay: float | None = None,
        validation: float | None = None,
        patience: int | None = None,
        options: dict[str, Any] | None = None,
        tune: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.sparsity = sparsity
        self.block = block
        self.init = init
        self.method = method
        self.activation = activation
        self.dropout = dropout
        self.epochs = epochs
        self.batch = batch
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.validation = validation
        self.patience = patience
        self.options = options
        self.tune = tune
        self.random_state = random_state
        self.verbose = verbose

    def _arguments(self, changes):
        options = {name: getattr(self, name) for name in _RUN}
        # None or 0: every block is present.
        if not options["sparsity"]:
            del options["sparsity"], options["init"]
            options["dense"] = True
            if options.pop("method") != "static":
                raise ValueError(f"method: {self.method} moves blocks, but with sparsity={self.sparsity} every block is present")
        hidden = options["hidden"]
        options["hidden"] = list(hidden) if np.ndim(hidden) else [hidden]
        # The data is in memory; that it is a table decides on the default number of epochs.
        options |= {"data": f"csv:{type(self).__name__}", "no_tune": not self.tune}
        return arguments({**options, **(self.options or {}), **changes})

    def _train(self, X, y, classes, previous, changes):
        """Trains on encoded targets, and keeps the checkpoint."""
        curve = []
        show = watcher(self.verbose)

        def watch(text):
            event = json.loads(text)
            if event["event"] == "epoch":
                curve.append(event["train"]["loss"])
            if show:
                show(text)

        checkpoint, summary = _fretwork.fit(X, y, classes, self._arguments(changes), previous, watch)
        self._trained = _Trained(checkpoint)
        self.loss_curve_ = (self.loss_curve_ if previous else []) + curve
        self.n_iter_ = len(self.loss_curve_)
        self.summary_ = json.loads(summary)
        return self

    def _seed(self):
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _rows(self, X):
        return np.ascontiguousarray(validate_data(self, X, dtype=np.float32, reset=False))

    def _validated(self, X, y, reset, **options):
        X, y = validate_data(self, X, y, dtype=np.float32, reset=reset, **options)
        return np.ascontiguousarray(X), y

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the network as a checkpoint, a safetensors file, which ``train(init_from=path)`` starts from."""
        check_is_fitted(self)
        with open(path, "wb") as file:
            file.write(self._trained.checkpoint)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_trained")


#: Parameters that are options of a run of the same name.
_RUN = (
    "hidden sparsity block init method activation dropout epochs batch optimizer lr schedule momentum weight_decay validation patience"
).split()

_PARAMETERS = """
    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers.
    sparsity : float or None
        Share of absent blocks, in [0, 1); None or 0 for dense layers. Of several hidden layers the first one stays dense where the
        features have fewer than ten columns of blocks; ``options={"keep_dense": ["none"]}`` makes it sparse.
    block : int
        Block side: 8, 16, 32, 64 or 128.
    init : str
        Distribution of the present blocks over the layers: ``"uniform"``, ``"er"``, ``"erk"``.
    method : str
        Method by which patterns evolve: ``"static"``, ``"set"``, ``"rigl"``, ….
    activation : str
        ``"relu"``, ``"gelu"``, ``"silu"`` or ``"all-relu:SLOPE"``.
    dropout : float
        Share of hidden activations that are dropped in training.
    epochs : int or None
        Passes over the rows; None for as many as make 1,000 steps of 128 rows, within 5 and 200.
    batch : int
        Rows of a step, at most the number of rows.
    optimizer : str
        ``"adamw"``, ``"sgd"``, ``"lars"`` or ``"lamb"``.
    lr : float or None
        Peak learning rate; None for 0.004 with adamw, 0.1 with sgd, 4 with lars and 0.02 with lamb.
    schedule : str
        ``"constant"``, ``"cosine"``, ``"one-cycle"``.
    momentum : float
        Momentum of SGD, or beta1 of AdamW.
    weight_decay : float or None
        Decoupled weight decay; None for 0.01 with adamw and lamb, 0.0005 with sgd and lars.
    validation : float or None
        Share of the rows that is set aside, for ``patience``.
    patience : int or None
        Epochs without a fall of the validation loss after which the training ends.
    options : dict or None
        Further options of :func:`fretwork.train`, such as ``{"update_every": 10}``.
    tune : bool
        Whether kernels are measured before the first step; results are the same to the last bit.
    random_state : int, RandomState or None
        Seed of patterns, weights, row order and dropout. The same seed and adapter give the same bits.
    verbose : bool
        Whether progress is shown.

    Attributes
    ----------
    n_iter_ : int
        Epochs done.
    loss_curve_ : list of float
        Mean loss over the rows of each epoch.
    summary_ : dict
        Summary of the last run: parameters, bytes by class, times.
"""


class SparseMLPClassifier(ClassifierMixin, _SparseMLP):
    __doc__ = (
        """Block-sparse multi-layer perceptron with softmax cross-entropy. The last layer is dense. Features should be of similar scale,
    as ``StandardScaler`` makes them.
"""
        + _PARAMETERS
        + """    classes_ : array
        Labels of the classes.
"""
    )

    def fit(self, X: Any, y: ArrayLike) -> SparseMLPClassifier:
        """Trains anew on rows ``X`` ``[rows, features]`` with labels ``y`` ``[rows]``."""
        X, y = self._validated(X, y, True)
        y = self._labels(y)
        self.classes_, y = np.unique(y, return_inverse=True)
        return self._train(X, y.astype(np.uint32), len(self.classes_), None, {"seed": self._seed()})

    def partial_fit(self, X: Any, y: ArrayLike, classes: ArrayLike | None = None) -> SparseMLPClassifier:
        """Trains one more epoch on these rows, at a constant learning rate. The first call needs all ``classes``, unless ``y`` has them."""
        first = not self.__sklearn_is_fitted__()
        X, y = self._validated(X, y, first)
        y = self._labels(y)
        if first:
            self.classes_ = np.unique(y if classes is None else classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes: {np.unique(classes).tolist()} are not those of the first call, {self.classes_.tolist()}")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels {unknown.tolist()}, which are none of the classes {self.classes_.tolist()}")
        places = np.searchsorted(self.classes_, y).astype(np.uint32)
        changes = {"epochs": 1, "schedule": "constant"} | ({"seed": self._seed()} if first else {})
        return self._train(X, places, len(self.classes_), None if first else self._trained.checkpoint, changes)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predicts the label of each row."""
        check_is_fitted(self)
        return self.classes_[self._trained.network().likeliest(self._rows(X))]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predicts the probability of each class, ``[rows, classes]``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        return self._trained.network().probabilities(self._rows(X))

    def _labels(self, y):
        check_classification_targets(y)
        return column_or_1d(y, warn=True)


class SparseMLPRegressor(RegressorMixin, _SparseMLP):
    __doc__ = (
        """Block-sparse multi-layer perceptron with mean squared error. The target is standardised inside. The last layer is dense.
    Features should be of similar scale, as ``StandardScaler`` makes them.
"""
        + _PARAMETERS
    )

    def fit(self, X: Any, y: ArrayLike) -> SparseMLPRegressor:
        """Trains anew on rows ``X`` ``[rows, features]`` with values ``y`` ``[rows]``."""
        X, y = self._validated(X, y, True, y_numeric=True)
        y = column_or_1d(y, warn=True).astype(np.float64)
        self._standardise(y)
        return self._train(X, self._standardised(y), 0, None, {"seed": self._seed(), "task": "regression"})

    def partial_fit(self, X: Any, y: ArrayLike) -> SparseMLPRegressor:
        """Trains one more epoch on these rows, at a constant learning rate. The first call decides on the scale of the target."""
        first = not self.__sklearn_is_fitted__()
        X, y = self._validated(X, y, first, y_numeric=True)
        y = column_or_1d(y, warn=True).astype(np.float64)
        if first:
            self._standardise(y)
        changes = {"epochs": 1, "schedule": "constant", "task": "regression"} | ({"seed": self._seed()} if first else {})
        return self._train(X, self._standardised(y), 0, None if first else self._trained.checkpoint, changes)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predicts the value of each row."""
        check_is_fitted(self)
        return self._trained.network().values(self._rows(X)) * self._scale + self._mean

    def _standardise(self, y):
        self._mean, self._scale = float(y.mean()), float(y.std()) or 1.0

    def _standardised(self, y):
        return ((y - self._mean) / self._scale).astype(np.float32)
