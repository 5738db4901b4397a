"""Layers, and networks of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..errors import ArgumentError
from ._blocks import blocks_of, bsr, index_of, rows_of, to_dense
from ._engine import Engine
from ._moe import MoE

if TYPE_CHECKING:
    from .._predict import Net

__all__ = ["Sequential", "SparseLinear", "of_net"]


def _linear(inputs, outputs, block, density, activation, dropout):
    return {
        "kind": "linear", "inputs": inputs, "outputs": outputs, "block": block, "density": density,
        "activation": activation, "dropout": dropout,
    }  # fmt: skip


class SparseLinear(nn.Module):
    """``y = x @ W.T + bias`` for a block-sparse ``W`` ``[out_features, in_features]``.

    Parameters
    ----------
    in_features, out_features : int
        Sides of ``W``, multiples of ``block``.
    bias : bool
        Whether a bias is added.
    block : int
        Block side: 8, 16, 32, 64 or 128.
    density : float
        Share of the blocks that are stored, above 0 and at most 1. They are drawn, so that every row and column has one where there are
        enough.
    f16 : bool
        Whether activations and operands of products are f16 on the device; sums and parameters stay f32. Needs an adapter with f16.

    ``values`` ``[nnz, block, block]`` and ``bias`` ``[out_features]`` are parameters; ``crow_indices`` and ``col_indices`` are buffers, the
    index of ``torch.sparse_bsr_tensor``. Input ``[..., in_features]`` and output are float32 on the CPU.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, block: int = 16, density: float = 0.1, f16: bool = False
    ) -> None:
        super().__init__()
        for name, side in (("in_features", in_features), ("out_features", out_features)):
            if side <= 0 or block <= 0 or side % block:
                text = f"{name}: should be a multiple of the block, {block}, but is {side}; keep such a layer dense, or choose another block"
                raise ArgumentError(text)
        if not 0 < density <= 1:
            raise ArgumentError(f"density: should be above 0 and at most 1, but is {density}")
        self.in_features, self.out_features, self.block, self.f16 = in_features, out_features, block, f16
        layer = _linear(in_features, out_features, block, density, None, 0.0)
        seed = int(torch.randint(2**31 - 1, ()))
        (crow, col), = Engine([layer], seed=seed).topologies()
        self._set(crow, col, bias)
        self.reset_parameters()

    def _set(self, crow, col, bias):
        b = self.block
        self.register_buffer("crow_indices", crow)
        self.register_buffer("col_indices", col)
        self.values = nn.Parameter(torch.empty(len(col), b, b))
        if bias:
            self.bias = nn.Parameter(torch.empty(self.out_features))
        else:
            self.register_parameter("bias", None)
        self._engine = Engine([self._layer(None, 0.0)], f16=self.f16)

    def _keep(self, places):
        """Drops all blocks but those at these places among the stored ones, ascending. ``values`` is then another parameter: graphs of
        earlier passes know the old one by its shape.
        """
        cols = self.in_features // self.block
        crow, col = index_of((self.row_indices() * cols + self.col_indices)[places], len(self.crow_indices) - 1, cols)
        old = self.values
        self.values = nn.Parameter(old.detach()[places], old.requires_grad)
        self.values.grad = None if old.grad is None else old.grad[places]
        self.crow_indices, self.col_indices = crow, col
        self._engine = Engine([self._layer(None, 0.0)], f16=self.f16)

    def reset_parameters(self) -> None:
        """Draws values and bias as ``nn.Linear`` does, for the mean number of stored inputs of an output."""
        rows = int((self.crow_indices.diff() > 0).sum()) * self.block
        bound = 1 / math.sqrt(self.values.numel() / rows)
        with torch.no_grad():
            self.values.uniform_(-bound, bound)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    @property
    def nnz(self) -> int:
        """Number of stored blocks."""
        return len(self.col_indices)

    @property
    def density(self) -> float:
        """Share of the blocks that are stored."""
        return self.nnz * self.block**2 / (self.in_features * self.out_features)

    def row_indices(self) -> torch.Tensor:
        """Row of each block, ``[nnz]``."""
        return rows_of(self.crow_indices)

    def mask(self) -> torch.Tensor:
        """True in the stored blocks, ``[out_features, in_features]``."""
        return self._dense(torch.ones_like(self.values)).bool()

    def to_dense(self) -> torch.Tensor:
        """``W`` with its absent blocks as zeros; autograd goes through it."""
        return self._dense(self.values)

    def _dense(self, values):
        return to_dense(self.crow_indices, self.col_indices, values, self.in_features)

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, *, block: int = 16, density: float | None = 0.1, keep: str = "random", f16: bool = False
    ) -> SparseLinear:
        """Layer with the weights of an ``nn.Linear`` in the blocks that are kept: drawn ones, or with ``keep="magnitude"`` those of the
        largest sums of magnitudes, in both cases a share ``density`` of all. ``density=None`` keeps the blocks that are not 0.
        """
        weight = linear.weight.detach()
        if density is None or keep == "magnitude":
            sums = weight.abs().reshape(weight.shape[0] // block, block, weight.shape[1] // block, block).sum((1, 3)).flatten()
            count = int((sums > 0).sum()) if density is None else max(1, round(density * len(sums)))
            places = sums.sort(descending=True, stable=True).indices[: max(1, count)].sort().values
            crow, col = index_of(places, weight.shape[0] // block, weight.shape[1] // block)
        elif keep == "random":
            crow = col = None
        else:
            raise ArgumentError(f"keep: should be random or magnitude, but is {keep!r}")
        layer = cls(*weight.shape[::-1], linear.bias is not None, block=block, density=1 if density is None else density, f16=f16)
        if crow is not None:
            layer._set(crow, col, linear.bias is not None)
        with torch.no_grad():
            layer.values.copy_(layer.blocks_of(weight))
            if linear.bias is not None:
                layer.bias.copy_(linear.bias)
        layer.train(linear.training)
        return layer

    @classmethod
    def from_sparse_bsr(cls, weight: torch.Tensor, bias: torch.Tensor | None = None, *, f16: bool = False) -> SparseLinear:
        """Layer with the blocks of a BSR tensor ``[out_features, in_features]`` of square blocks, and a bias ``[out_features]``."""
        block, width = weight.values().shape[1:]
        if block != width:
            raise ArgumentError(f"weight: should have square blocks, but they are of {block} x {width}")
        layer = cls(*weight.shape[::-1], bias is not None, block=block, density=1)
        layer.f16 = f16
        layer._set(weight.crow_indices().to(torch.int64).clone(), weight.col_indices().to(torch.int64).clone(), bias is not None)
        with torch.no_grad():
            layer.values.copy_(weight.values())
            if bias is not None:
                layer.bias.copy_(bias)
        return layer

    def to_linear(self) -> nn.Linear:
        """``nn.Linear`` with the same weights, absent blocks as zeros."""
        linear = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        with torch.no_grad():
            linear.weight.copy_(self.to_dense())
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear.train(self.training)

    def to_sparse_bsr(self) -> torch.Tensor:
        """``W`` as a BSR tensor that shares the values' memory."""
        size = (self.out_features, self.in_features)
        return bsr(self.crow_indices, self.col_indices, self.values, size)

    def blocks_of(self, dense: torch.Tensor) -> torch.Tensor:
        """The stored blocks of a dense matrix, ``[nnz, block, block]``."""
        return blocks_of(self.crow_indices, self.col_indices, dense, self.block)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output, _ = self._engine(input, self._tensors(), self._indices(), self.training)
        return output

    def _layer(self, activation, dropout):
        return _linear(self.in_features, self.out_features, self.block, self.density, activation, dropout)

    def _tensors(self):
        return [self.values, self.values.new_zeros(self.out_features) if self.bias is None else self.bias]

    def _indices(self):
        return [(self.crow_indices, self.col_indices)]

    def extra_repr(self) -> str:
        text = f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, block={self.block}"
        return f"{text}, density={self.density:.3g}" + (", f16=True" if self.f16 else "")


class Sequential(nn.Sequential):
    """Layers one behind the other as one call on the device: tensors are staged at its ends alone.

    Takes :class:`SparseLinear`, :class:`MoE`, ``nn.Linear``, and behind a linear layer ``nn.ReLU``, ``nn.SiLU`` or
    ``nn.GELU(approximate="tanh")`` and ``nn.Dropout``. Names of parameters are those of ``nn.Sequential``.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self._built = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        _, tensors, indices = self._parts()
        output, losses = self.engine()(input, tensors, indices, self.training)
        for mixture, of in zip((module for module in self if isinstance(module, MoE)), losses):
            mixture.set_balance(of)
        return output

    def engine(self) -> Engine:
        """The layers on the device."""
        layers, _, _ = self._parts()
        f16 = any(getattr(module, "f16", False) for module in self)
        if self._built is None or self._built[0] != (layers, f16):
            self._built = ((layers, f16), Engine(layers, f16=f16))
        return self._built[1]

    def sparse_places(self) -> list[tuple[int, SparseLinear]]:
        """Place among the parameters of the engine, and module, of each :class:`SparseLinear`."""
        places, at = [], 0
        for module in self:
            if isinstance(module, SparseLinear):
                places.append((at, module))
            at += 3 if isinstance(module, MoE) else 2 if isinstance(module, (SparseLinear, nn.Linear)) else 0
        return places

    def _parts(self):
        layers, tensors, indices = [], [], []
        for place, module in enumerate(self):
            name = f"{place} ({type(module).__name__})"
            if isinstance(module, (SparseLinear, MoE)):
                layers.append(module._layer(None, 0.0))
                tensors += module._tensors()
                indices += module._indices()
            elif isinstance(module, nn.Linear):
                layers.append(_linear(module.in_features, module.out_features, None, 1.0, None, 0.0))
                tensors += [module.weight, torch.zeros(module.out_features) if module.bias is None else module.bias]
            elif not layers or layers[-1]["kind"] != "linear" or layers[-1]["dropout"]:
                raise ArgumentError(f"{name}: should stand behind a linear layer")
            elif isinstance(module, nn.Dropout):
                layers[-1] = layers[-1] | {"dropout": module.p}
            elif layers[-1]["activation"]:
                raise ArgumentError(f"{name}: should stand behind a linear layer, but stands behind an activation")
            else:
                layers[-1] = layers[-1] | {"activation": _activation(name, module)}
        return layers, tensors, indices


def of_net(net: Net) -> nn.Module:
    """Module with the weights of a trained perceptron, a :class:`fretwork.Net`: a :class:`Sequential`, behind an ``nn.ConstantPad1d`` where
    the block does not divide the number of features. It reads features as the network does, encoded and standardised, and gives logits, or
    the standardised value of a regression.
    """
    model = net.settings["model"]
    if model["kind"] != "mlp":
        raise ArgumentError(f"net: should be a perceptron, of the kind mlp, but is of the kind {model['kind']}")
    activations = {"relu": nn.ReLU(), "gelu": nn.GELU(approximate="tanh"), "silu": nn.SiLU()}
    activation = activations.get(model["activation"] if isinstance(model["activation"], str) else None)
    if activation is None:
        raise ArgumentError(f"net: has the activation {model['activation']}, which PyTorch has not")
    parameters, modules = net.parameters(), []
    for number in range(len(model["hidden"]) + 1):
        weight, bias = parameters[f"layers.{number}.weight"], torch.from_numpy(parameters[f"layers.{number}.bias"])
        if hasattr(weight, "pattern"):
            pattern = weight.pattern
            index = [torch.from_numpy(part) for part in (pattern.crow_indices, pattern.col_indices)]
            values = torch.from_numpy(weight.values)
            layer = SparseLinear.from_sparse_bsr(bsr(*index, values, pattern.shape), bias)
        else:
            layer = nn.Linear(*weight.shape[::-1])
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(bias)
        modules += [layer, activation]
    sequential = Sequential(*modules[:-1])
    padding = modules[0].in_features - model["inputs"]
    return nn.Sequential(nn.ConstantPad1d((0, padding), 0.0), sequential) if padding else sequential


def _activation(name, module):
    if isinstance(module, nn.ReLU):
        return "relu"
    if isinstance(module, nn.SiLU):
        return "silu"
    if isinstance(module, nn.GELU):
        if module.approximate != "tanh":
            raise ArgumentError(f'{name}: should be nn.GELU(approximate="tanh"), whose formula the device has, but is the exact one')
        return "gelu"
    raise ArgumentError(f"{name}: is none of SparseLinear, MoE, Linear, ReLU, SiLU, GELU and Dropout; use nn.Sequential around it")
