"""Runs as the program's ``train`` makes them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import _fretwork
from ._progress import watcher
from ._predict import load as load_run
from .errors import ArgumentError

if TYPE_CHECKING:
    from ._predict import Net

    Path = str | os.PathLike[str]

__all__ = ["Run", "arguments", "export", "train"]


class Run:
    """A run that has ended or was stopped.

    ``summary`` is a dict with everything that ``fretwork train --json`` prints in its last line: accuracy or errors on the test rows,
    losses, parameters, bytes by class, times.
    """

    def __init__(self, summary: dict[str, Any], folder: Path | None) -> None:
        self.summary = summary
        #: Run folder, or None where nothing was kept.
        self.folder = folder

    @property
    def finished(self) -> bool:
        """Whether the run came to its end; ``stop_after`` ends it earlier."""
        return self.summary["finished"]

    @property
    def steps(self) -> int:
        """Steps done in the whole run."""
        return self.summary["steps"]

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy on the test rows; None for a regression."""
        return self.summary.get("test_accuracy")

    @property
    def test_loss(self) -> float:
        """Mean loss on the test rows: in nats, or the mean squared error of standardised targets."""
        return self.summary["test_loss"]

    @property
    def test_rmse(self) -> float | None:
        """Root mean squared error on the test rows, in the units of the target; None for a classification."""
        return self.summary.get("test_rmse")

    def load(self) -> Net:
        """The trained network; needs a run with ``out``."""
        return load_run(self._kept())

    def export(self, to: str, out: Path | None = None) -> str:
        """Writes the network for other programs, as :func:`fretwork.export` does; needs a run with ``out``."""
        return export(self._kept(), to, out)

    def _kept(self):
        if self.folder is None:
            raise ArgumentError("out: the run kept nothing, because none was given")
        return self.folder

    def __repr__(self) -> str:
        score = f"test RMSE {self.test_rmse:.5g}" if self.test_accuracy is None else f"test accuracy {self.test_accuracy:.4f}"
        return f"<fretwork.Run: {score}, {self.steps} steps, folder {self.folder!r}>"


def arguments(options: dict[str, Any]) -> list[str]:
    """Arguments of the program from options: ``--test-rows=5`` from ``{"test_rows": 5}``; None and False are left out."""
    words = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(flag)
        elif isinstance(value, (list, tuple)):
            words.append(f"{flag}={','.join(str(part) for part in value)}")
        else:
            words.append(f"{flag}={os.fspath(value) if isinstance(value, os.PathLike) else value}")
    return words


def export(folder: Path, to: str, out: Path | None = None, *, best: bool = False, network: int | None = None) -> str:
    """Writes the network of a run folder in a format that other programs read, as ``fretwork export`` does, and returns the file's path.

    ``to``: ``"onnx"``, ``"safetensors-dense"``, ``"safetensors-bsr"`` or ``"torch"``. ``out``: the file, by default one in the run folder.
    ``best``: whether the checkpoint of the epoch with the smallest validation loss is written, of a run with ``validation``.
    ``network``: the number of one of a run's several networks, from 0.
    """
    options = {"to": to, "out": out, "best": best, "network": network}
    return os.fspath(_fretwork.export([*arguments(options), "--", os.fspath(folder)]))


def train(
    data: str | None = None,
    *,
    rows: int | None = None,
    test_rows: int | None = None,
    label: str | int | None = None,
    missing: str | None = None,
    task: str | None = None,
    image_size: str | None = None,
    gray: bool = False,
    validation: str | float | None = None,
    model: str | None = None,
    hidden: Sequence[int] | int | None = None,
    dense: bool = False,
    sparsity: float | None = None,
    block: int | None = None,
    init: str | None = None,
    activation: str | None = None,
    dropout: float | None = None,
    local: str | None = None,
    seed: int | None = None,
    rows_seed: int | None = None,
    dtype: str | None = None,
    stochastic_rounding: bool = False,
    loss_scale: float | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    micro_batches: int | None = None,
    recompute: str | None = None,
    epoch_steps: int | None = None,
    patience: int | None = None,
    optimizer: str | None = None,
    basis: int | None = None,
    redraw: bool = False,
    per_layer: bool = False,
    lr: float | None = None,
    schedule: str | None = None,
    warmup: int | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    context: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    depth: int | None = None,
    experts: Sequence[int] | int | None = None,
    gate: str | None = None,
    aux: float | None = None,
    importance: float | None = None,
    load: float | None = None,
    z_loss: float | None = None,
    bias_rate: float | None = None,
    capacity: float | None = None,
    overflow: str | None = None,
    gated: bool = False,
    shared: int | None = None,
    method: str | None = None,
    update_every: int | str | None = None,
    update_from: float | None = None,
    update_until: float | None = None,
    update_fraction: float | None = None,
    update_decay: str | None = None,
    backward_sparsity: float | None = None,
    penalty: float | None = None,
    score_rows: int | None = None,
    scope: str | None = None,
    prune_outgoing: bool = False,
    init_from: Path | None = None,
    pattern: Path | None = None,
    keep_dense: Sequence[str] | None = None,
    ensemble: int | None = None,
    codistill: int | None = None,
    weight: float | None = None,
    burn_in: int | None = None,
    exchange_every: int | None = None,
    disjoint: bool = False,
    tasks: int | None = None,
    buffer: int | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    stop_after: int | None = None,
    adapter: str | int | None = None,
    no_tune: bool = False,
    progress: bool | Callable[[dict[str, Any]], object] = True,
) -> Run:
    """Trains a block-sparse network, as ``fretwork train`` does with the same options.

    Options are those of the program, with underscores: ``--test-rows 100`` is ``test_rows=100``, a list is a Python list.
    ``fretwork.options()`` lists them with their defaults and meaning; an option without effect is refused.

    Parameters
    ----------
    data : str
        ``"csv:table.csv"``, ``"digits"``, ``"fashion-mnist"``, ``"idx:DIR"``, ``"images:DIR"``, ``"text:FILE"``.
    hidden : list of int
        Widths of the hidden layers.
    sparsity : float
        Share of absent blocks, in [0, 1).
    method : str
        Method by which patterns evolve: ``"static"``, ``"set"``, ``"rigl"``, ….
    local : str
        How the hidden layers are cut into parts that learn from losses of their own: ``"greedy"``, ``"overlapping"`` or ``"chunked:2"``.
    ensemble, codistill : int
        Number of networks that are trained at once, to predict together or to learn from each other.
    tasks : int
        Number of tasks, of some of the classes each, that are learned one after the other, with ``buffer`` rows of earlier ones kept.
    out : path
        Run folder for checkpoint and log. Without one, nothing is kept.
    resume : path
        Run folder to go on with, in the place of ``data``.
    progress : bool or callable
        Whether progress is shown, or a function that is called with each event, a dict.

    Returns
    -------
    Run
        Summary and folder.

    Raises
    ------
    Error
        With the texts of the program.
    KeyboardInterrupt
        At Ctrl-C, after the current step. With ``out`` the checkpoint of that step is in the folder, and ``resume`` goes on from it. A run
        that is still being prepared leaves nothing.
    """
    options = dict(locals())
    watch = watcher(options.pop("progress"))
    folder = out if resume is None else resume
    summary = json.loads(_fretwork.train(arguments(options), watch))
    return Run(summary, folder)
