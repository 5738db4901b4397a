"""Sparsification of a model, and updates of its patterns in a training loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .. import _fretwork
from .._arrays import whole
from ..errors import ArgumentError
from ._modules import Sequential, SparseLinear

__all__ = ["Sparsifier", "sparsify"]

#: Steps of a training without an end.
_ENDLESS = 2**62


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
    fraction: float | None = None,
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
        ``"rigl"``, ``"set"``, ``"static"`` for patterns that stay, or ``"magnitude"``: gradual magnitude pruning (Zhu and Gupta 2017), which
        begins with every block and drops the smallest, layer by layer, along a cubic. Values, gradients and the optimizer's state of dropped
        blocks are freed at once: smaller parameters take the place of a layer's ``values`` in model and optimizer, which
        ``DistributedDataParallel`` does not support.
    optimizer : torch.optim.Optimizer or None
        Optimizer of the model: the new values take the place of the weights in its groups, and new blocks begin with a state of zeros.
    steps : int
        Calls of ``step`` in the whole training, for the schedule of the updates; not for ``"static"``. None for a training without an end,
        in which updates go on and their share does not fall.
    block : int
        Block side.
    init : str
        Distribution of the blocks over the layers: ``"uniform"``, ``"er"``, ``"erk"``.
    keep : str
        Blocks of each weight that are kept: ``"random"``, or ``"magnitude"`` for the largest.
    skip : sequence of str
        Names of layers that stay dense.
    every, fraction, until : int, float, float
        An update every so many steps exchanges a share of a layer's blocks, 0.3 by default, which falls along a cosine to 0 at ``until`` of
        the steps. Pruning has no ``fraction``: it is done at ``until``.
    seed : int
        Seed of random growth.
    """
    block = whole("block", block, 1)
    if method != "static":
        if steps is None and method == "magnitude":
            raise ArgumentError("steps: should be the number of steps of the whole training, over which pruning is spread; none given")
        every, steps = whole("every", every), _ENDLESS if steps is None else whole("steps", steps)
        if method == "magnitude":
            if fraction is not None or keep != "random":
                raise ArgumentError(f"{'keep' if fraction is None else 'fraction'}: has no effect with magnitude, which begins with all blocks")
            if optimizer is None:
                raise ArgumentError("optimizer: should be that of the model, whose state pruning cuts; none given")
            _fretwork.unpruned_share(every, until, 0, steps)
        fraction = 0.3 if fraction is None else fraction
        if method != "magnitude":
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
    swapped, targets = {}, []
    for (name, linear), (rows, cols), count in zip(fits.items(), grids, counts):
        density = 1 if method == "magnitude" else count / (rows * cols)
        layer = SparseLinear.from_linear(linear, block=block, density=density, keep=keep)
        targets.append((layer, count))
        layer.bias = linear.bias
        swapped[id(linear.weight)] = layer.values
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
    if optimizer is not None:
        _swap(optimizer, swapped)
    dense = [name for name in linears if name not in fits]
    return Sparsifier(model, method, optimizer, steps, every, fraction, until, seed, dense, targets)


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
    """Moves or prunes blocks of the :class:`SparseLinear` of a model; made by :func:`sparsify`."""

    def __init__(self, model, method, optimizer, steps, every, fraction, until, seed, dense, targets):
        self.model, self.method, self.optimizer = model, method, optimizer
        self.steps, self.every, self.fraction, self.until, self.seed = steps, every, fraction, until, seed
        #: Names of linear layers that stayed dense.
        self.dense = dense
        #: Calls of :meth:`step` so far.
        self.step_count = 0
        #: Layers that are pruned, their blocks at first, and their number of blocks in the end.
        self._targets = [(layer, layer.nnz, target) for layer, target in targets] if method == "magnitude" else []
        #: Blocks that the last update exchanged or dropped, of all layers.
        self.exchanged = 0
        self._prepare()

    def step(self) -> bool:
        """Updates the patterns, if an update is due; call it after ``backward``. Returns whether the optimizer is to step."""
        if self._targets:
            self._prune()
        share = self._share()
        if share is not None:
            self.exchanged = sum(self._update(*of, share) for of in self._layers())
        self.step_count += 1
        self._prepare()
        return share is None

    def state_dict(self) -> dict[str, Any]:
        """The number of steps so far, and with pruning the numbers of blocks; patterns are in the model's own ``state_dict``."""
        blocks = {"blocks": [layer.nnz for layer, _, _ in self._targets]} if self._targets else {}
        return {"step_count": self.step_count} | blocks

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`. With pruning it comes before the ``load_state_dict`` of model and optimizer, whose tensors have
        as many blocks as were left.
        """
        self.step_count = state["step_count"]
        for (layer, _, _), count in zip(self._targets, state.get("blocks", [])):
            if count > layer.nnz:
                raise ArgumentError(f"state: has {count} blocks for a layer that has {layer.nnz} left; make the model anew")
            self._keep(layer, torch.arange(count))
        self._prepare()

    def _share(self):
        if self.method in ("static", "magnitude") or self.step_count >= self.steps:
            return None
        return _fretwork.update_share(self.method, self.every, self.until, self.fraction, self.step_count, self.steps)

    def _prune(self):
        """Drops the smallest blocks of each layer, if an update is due."""
        last = self.step_count + 1 == self.steps
        share = 0.0 if last else _fretwork.unpruned_share(self.every, self.until, self.step_count, self.steps)
        if share is None or self.step_count >= self.steps:
            return
        self.exchanged = 0
        for layer, first, target in self._targets:
            count = target + math.floor((first - target) * share + 0.5)
            if count < layer.nnz:
                self.exchanged += layer.nnz - count
                order = layer.values.detach().abs().sum((1, 2)).sort(descending=True, stable=True).indices
                self._keep(layer, order[:count].sort().values)

    def _keep(self, layer, places):
        """Keeps the blocks of a layer at these places, with their gradient and their state of the optimizer."""
        old = layer.values
        state = self.optimizer.state.get(old, {})
        state = {name: part[places] if torch.is_tensor(part) and part.shape == old.shape else part for name, part in state.items()}
        layer._keep(places)
        _swap(self.optimizer, {id(old): layer.values})
        if state:
            self.optimizer.state[layer.values] = state

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
