"""Sparsification of a model, and updates of its patterns in a training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .. import _fretwork
from .._arrays import whole
from ..errors import ArgumentError
from ._modules import Sequential, SparseLinear

__all__ = ["Sparsifier", "sparsify"]


def sparsify(
    model: nn.Module,
    density: float = 0.1,
    *,
    method: str = "rigl",
    optimizer: torch.optim.Optimizer | None = None,
    steps: int | None = None,
    block: int = 16,
    init: str = "erk",
    keep: str = "random",
    skip: Sequence[str] = (),
    every: int = 100,
    fraction: float = 0.3,
    until: float = 0.75,
    seed: int = 0,
) -> Sparsifier:
    """Replaces each ``nn.Linear`` of a model by a :class:`SparseLinear`, in place, and returns a :class:`Sparsifier`.

    Its ``step`` says whether the optimizer is to step: a step in which blocks move changes no weight, as in RigL::

        sparse = fretwork.torch.sparsify(model, density=0.1, method="rigl", optimizer=optimizer, steps=len(loader) * epochs)
        for x, y in loader:
            optimizer.zero_grad()
            loss_function(model(x), y).backward()
            if sparse.step():
                optimizer.step()

    Parameters
    ----------
    model : nn.Module
        Layers with a side that ``block`` does not divide stay dense; :attr:`Sparsifier.dense` has their names.
    density : float
        Share of the blocks that all replaced layers keep together.
    method : str
        ``"rigl"``, ``"set"``, or ``"static"`` for patterns that stay.
    optimizer : torch.optim.Optimizer or None
        Optimizer of the model: the new values take the place of the weights in its groups, and new blocks begin with a state of zeros.
    steps : int
        Calls of ``step`` in the whole training, for the schedule of the updates; not for ``"static"``.
    block : int
        Block side.
    init : str
        Distribution of the blocks over the layers: ``"uniform"``, ``"er"``, ``"erk"``.
    keep : str
        Blocks of each weight that are kept: ``"random"``, or ``"magnitude"`` for the largest.
    skip : sequence of str
        Names of layers that stay dense.
    every, fraction, until : int, float, float
        An update every so many steps exchanges a share of a layer's blocks, which falls along a cosine to 0 at ``until`` of the steps.
    seed : int
        Seed of random growth.
    """
    block = whole("block", block, 1)
    if method != "static":
        if steps is None:
            raise ArgumentError("steps: should be the number of steps of the whole training, which the schedule of updates needs; none given")
        every, steps = whole("every", every), whole("steps", steps)
        _fretwork.update_share(method, every, until, fraction, 0, steps)
    if isinstance(model, nn.Linear):
        raise ArgumentError("model: should hold linear layers, but is one; use SparseLinear.from_linear")
    linears = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}
    unknown = set(skip) - set(linears)
    if unknown:
        raise ArgumentError(f"skip: {sorted(unknown)} are no linear layers of the model; it has {sorted(linears)}")
    fits = {
        name: linear for name, linear in linears.items()
        if name not in skip and linear.in_features % block == 0 and linear.out_features % block == 0
    }  # fmt: skip
    if not fits:
        raise ArgumentError(f"model: has no linear layer with sides that are multiples of {block}; it has {sorted(linears)}")
    grids = [[linear.out_features // block, linear.in_features // block] for linear in fits.values()]
    counts = _fretwork.allocate(init, grids, 1 - density)
    swapped = {}
    for (name, linear), (rows, cols), count in zip(fits.items(), grids, counts):
        layer = SparseLinear.from_linear(linear, block=block, density=count / (rows * cols), keep=keep)
        layer.bias = linear.bias
        swapped[id(linear.weight)] = layer.values
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
    if optimizer is not None:
        _swap(optimizer, swapped)
    dense = [name for name in linears if name not in fits]
    return Sparsifier(model, method, optimizer, steps, every, fraction, until, seed, dense)


def _swap(optimizer, swapped):
    found = 0
    for group in optimizer.param_groups:
        for place, old in enumerate(group["params"]):
            new = swapped.get(id(old))
            if new is not None:
                optimizer.state.pop(old, None)
                group["params"][place] = new
                found += 1
    if found != len(swapped):
        text = f"optimizer: has {found} of the {len(swapped)} weights that were replaced; make it of all parameters of the model"
        raise ArgumentError(text)


class Sparsifier:
    """Moves blocks of the :class:`SparseLinear` of a model; made by :func:`sparsify`."""

    def __init__(self, model, method, optimizer, steps, every, fraction, until, seed, dense):
        self.model, self.method, self.optimizer = model, method, optimizer
        self.steps, self.every, self.fraction, self.until, self.seed = steps, every, fraction, until, seed
        #: Names of linear layers that stayed dense.
        self.dense = dense
        #: Calls of :meth:`step` so far.
        self.step_count = 0
        #: Blocks that the last update exchanged, of all layers.
        self.exchanged = 0
        self._prepare()

    def step(self) -> bool:
        """Updates the patterns, if an update is due; call it after ``backward``. Returns whether the optimizer is to step."""
        share = self._share()
        if share is not None:
            self.exchanged = sum(self._update(*of, share) for of in self._layers())
        self.step_count += 1
        self._prepare()
        return share is None

    def state_dict(self) -> dict[str, Any]:
        """The number of steps so far; patterns are in the model's own ``state_dict``."""
        return {"step_count": self.step_count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`."""
        self.step_count = state["step_count"]
        self._prepare()

    def _share(self):
        if self.method == "static" or self.step_count >= self.steps:
            return None
        return _fretwork.update_share(self.method, self.every, self.until, self.fraction, self.step_count, self.steps)

    def _prepare(self):
        """Has the layers keep input and gradient of the next step, if it updates the patterns."""
        keeps = self._share() is not None
        for engine, _, _, _ in self._layers():
            engine.keeps, engine.kept = keeps, None

    def _layers(self):
        """Engine, place among its parameters, number and module of each sparse layer."""
        layers, inner = [], set()
        for module in self.model.modules():
            if isinstance(module, Sequential):
                for place, layer in module.sparse_places():
                    layers.append((module.engine(), place, len(layers), layer))
                    inner.add(layer)
            elif isinstance(module, SparseLinear) and module not in inner:
                layers.append((module._engine, 0, len(layers), module))
        return layers

    def _update(self, engine, place, number, layer, share):
        if engine.kept is None:
            raise ArgumentError("step: should follow a backward pass through every sparse layer, but there was none since the last step")
        state = [] if self.optimizer is None else self.optimizer.state.get(layer.values, {}).values()
        state = [part for part in state if torch.is_tensor(part) and part.shape == layer.values.shape]
        seed = self.seed * 2**16 + number
        crow, col, values, parts = engine.update(self.method, place, share, state, self.step_count, seed)
        before = set(zip(layer.row_indices().tolist(), layer.col_indices.tolist()))
        with torch.no_grad():
            layer.crow_indices.copy_(torch.tensor(crow))
            layer.col_indices.copy_(torch.tensor(col))
            layer.values.copy_(torch.tensor(values).reshape(layer.values.shape))
            for part, new in zip(state, parts):
                part.copy_(torch.tensor(new).reshape(part.shape))
        return len(set(zip(layer.row_indices().tolist(), layer.col_indices.tolist())) - before)
