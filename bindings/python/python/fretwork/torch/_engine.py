"""Layers on the device, and the autograd function that runs them."""

import functools
import json
import warnings

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from .. import _fretwork
from ..errors import ArgumentError

__all__ = ["BALANCE", "Balance", "Engine"]

#: Coefficients of the losses of balance of a mixture of experts.
BALANCE = ("aux", "importance", "z_loss")

#: None before PyTorch 2.
_compiler = getattr(torch, "compiler", None)


def _uncompiled(function):
    """Function that ``torch.compile`` leaves out of its graphs with all that it calls: one graph break for a call."""
    if not hasattr(_compiler, "disable"):
        return function
    return _compiler.disable(function)


@functools.cache
def _warn_of_graph_breaks():
    """Warns once in a process; Python's own filter forgets what it has shown when filters change."""
    warnings.warn("torch.compile: layers of fretwork run outside of the compiled graphs, with a graph break for each", stacklevel=1)


class Engine:
    """Network on the device for the parameters of a module. Copies and pickles hold the description alone; the network is made at the first
    forward pass.
    """

    def __init__(self, layers, *, f16=False, seed=0):
        self.description = {"layers": layers, "f16": f16, "seed": seed}
        self.json = json.dumps(self.description)
        #: Name, shape and side of a block of each parameter.
        self.parameters = _fretwork.parameters(self.json)
        self._network = None
        self._indices = None
        #: Arguments of the last backward pass, where they are kept for an update of patterns.
        self.kept = None
        self.keeps = False

    def __reduce__(self):
        return _engine, (self.description,)

    def __deepcopy__(self, memo):
        return _engine(self.description)

    def topologies(self):
        """Random topologies of the sparse matrices: ``crow_indices`` and ``col_indices`` of each."""
        return [tuple(torch.tensor(index, dtype=torch.int64) for index in of) for of in _fretwork.topologies(self.json)]

    def __call__(self, x, values, indices, training):
        """Output of the layers for ``x`` ``[..., width]``, and the losses of balance of each mixture of experts, a :class:`Balance`, where
        any has a coefficient, in training. ``values``: a tensor for each parameter; ``indices``: pairs of index buffers, one for each sparse
        parameter.
        """
        return self._call(x, values, indices, training, hasattr(_compiler, "is_compiling") and _compiler.is_compiling())

    @_uncompiled
    def _call(self, x, values, indices, training, compiling):
        if compiling:
            _warn_of_graph_breaks()
        if x.dtype != torch.float32 or x.device.type != "cpu":
            raise ArgumentError(f"input: should be of float32 on the CPU, but is of {x.dtype} on {x.device}")
        for (name, _, _), value in zip(self.parameters, values):
            if value.dtype != torch.float32 or value.device.type != "cpu":
                raise ArgumentError(f"{name}: should be of float32 on the CPU, but is of {value.dtype} on {value.device}")
        self.set_indices(indices)
        layers = self.description["layers"]
        mixtures = [layer for layer in layers if layer["kind"] == "moe"]
        balanced = training and any(layer[name] for layer in mixtures for name in BALANCE)
        # Without dropout and losses of balance the passes of training are those outside of it.
        training = balanced or (training and any(layer.get("dropout") for layer in layers))
        draw = int(torch.randint(2**31 - 1, ())) if training else 0
        y, sums, losses = _Layers.apply(self, training, draw, x, *values)
        if not balanced:
            return y, [None for _ in mixtures]
        return y, [Balance(sum, of) for sum, of in zip(sums, losses.tolist())]

    def set_indices(self, indices):
        """Takes the topologies of the buffers; each has as many blocks as before."""
        indices = [tuple(index.numpy() for index in pair) for pair in indices]
        if self._network is None:
            self._network = _fretwork.Network(self.json, indices)
        elif self._indices is None or any(not np.array_equal(a, b) for old, new in zip(self._indices, indices) for a, b in zip(old, new)):
            sparse = [place for place, (_, _, block) in enumerate(self.parameters) if block is not None]
            for place, of in zip(sparse, indices):
                self._network.set_topology(place, of)
        else:
            return
        self._indices = [tuple(index.copy() for index in pair) for pair in indices]

    def write(self, values):
        """Writes the values of all parameters."""
        for place, value in enumerate(values):
            self._network.write(place, _flat(value))

    def forward(self, values, x, differentiable, training, draw):
        self.write(values)
        return self._network.forward(x, differentiable, training, draw)

    def backward(self, stamp, values, x, dy, differentiable, training, draw, balance):
        if self.keeps:
            self.kept = (x.copy(), dy.copy(), training, draw, balance)
        # Another forward pass may have written other values since; autograd has seen to it that these are those of this one.
        self.write(values)
        return self._network.backward(stamp, x, dy, differentiable, training, draw, balance)

    def update(self, method, place, share, state, step, seed):
        """Exchanges blocks of parameter number ``place`` by the last backward pass; see :func:`sparsify`."""
        x, dy, training, draw, balance = self.kept
        # The exchange leaves the blocks in another order than the buffers, so that the next pass writes the index anew.
        self._indices = None
        return self._network.update(method, place, x, dy, training, draw, balance, share, [_flat(part) for part in state], step, seed)


def _engine(description):
    return Engine(description["layers"], f16=description["f16"], seed=description["seed"])


def _flat(tensor):
    return tensor.detach().contiguous().numpy().reshape(-1)


def _matrix(tensor):
    """A contiguous array ``[rows, width]`` of a tensor ``[..., width]``."""
    return tensor.detach().contiguous().numpy().reshape(-1, tensor.shape[-1])


class Balance:
    """Losses of balance of a mixture of experts at one forward pass."""

    def __init__(self, sum, losses):
        #: The sum with the coefficients, a tensor.
        self.sum = sum
        #: The losses without them.
        self.parts = {"aux": losses[0], "importance": losses[1], "z_loss": losses[3]}


class _Layers(torch.autograd.Function):
    """Output, the weighed losses of balance of each mixture ``[mixtures]``, and their parts ``[mixtures, 5]``."""

    @staticmethod
    def forward(ctx, engine, training, draw, x, *values):
        ctx.engine, ctx.training, ctx.draw = engine, training, draw
        ctx.save_for_backward(x, *values)
        rows = _matrix(x)
        # A product needs a row; that of zeros stands in for none.
        ctx.empty = len(rows) == 0
        if ctx.empty:
            rows = np.zeros((1, x.shape[-1]), np.float32)
        y, ctx.stamp, losses = engine.forward(values, rows, ctx.needs_input_grad[3], training, draw)
        y, losses = torch.from_numpy(y), torch.tensor(losses).reshape(len(losses), 5)
        if ctx.empty:
            y, losses = y[:0], torch.zeros_like(losses)
        ctx.mark_non_differentiable(losses)
        return y.reshape(*x.shape[:-1], y.shape[-1]), losses[:, 4].clone(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx, dy, balance, _):
        x, *values = ctx.saved_tensors
        wants = ctx.needs_input_grad
        if ctx.empty:
            grads = [torch.zeros_like(value) for value in values]
            dx = torch.zeros_like(x)
        else:
            dx, grads = ctx.engine.backward(ctx.stamp, values, _matrix(x), _matrix(dy), wants[3], ctx.training, ctx.draw, balance.tolist())
            dx = None if dx is None else torch.from_numpy(dx).reshape(x.shape)
            grads = [torch.from_numpy(grad).reshape(value.shape) for grad, value in zip(grads, values)]
        grads = [grad if want else None for grad, want in zip(grads, wants[4:])]
        return (None, None, None, dx if wants[3] else None, *grads)
