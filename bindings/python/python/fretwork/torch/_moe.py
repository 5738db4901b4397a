"""Mixtures of experts."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..errors import ArgumentError
from ._blocks import to_dense
from ._engine import Engine

__all__ = ["MoE"]


class MoE(nn.Module):
    """Mixture of experts: each row passes through the ``top_k`` of ``experts`` feed-forward networks that a router gives the largest
    probability, and the outputs are added, weighted by the probabilities, which for ``top_k`` above 1 add up to 1.

    The router is ``router`` ``[experts, width]``. Experts have no bias: ``up`` and ``down`` are ``[experts * hidden, width]``, of which
    expert ``e`` has the rows from ``e * hidden`` on, and its output is ``activation(x @ up.T) @ down``. With a ``density`` both are
    block-sparse: values ``[nnz, block, block]``, with the buffers ``up_crow_indices`` and ``up_col_indices``, and those of ``down``.

    Parameters
    ----------
    width : int
        Width of a row, a multiple of ``block``.
    experts, top_k : int
        Number of experts, and of those that a row passes through.
    hidden : int or None
        Hidden units of an expert, a multiple of ``block``; None for twice the width.
    block : int
        Tile of the routing: products of experts are over tiles of so many rows. Also the side of a block of sparse experts.
    activation : str
        ``"gelu"`` in its tanh form, ``"relu"`` or ``"silu"``.
    density : float or None
        Share of the blocks of ``up`` and ``down`` that are stored, drawn; None for dense experts.
    aux, importance, z_loss : float
        Coefficients of the losses that keep experts in balance. Their sum is :attr:`balance_loss`, which the training adds to its loss:

        - ``aux``: load balancing, ``experts * sum(P * C)`` of the mean probability ``P`` of each expert and the share ``C`` of first choices
          that it has (GShard); 1 in balance
        - ``importance``: squared coefficient of variation of the sums of weights of each expert (Shazeer et al. 2017)
        - ``z_loss``: mean squared log-sum-exp of the router's logits (ST-MoE)
    """

    def __init__(
        self,
        width: int,
        experts: int = 8,
        top_k: int = 2,
        hidden: int | None = None,
        *,
        block: int = 16,
        activation: str = "gelu",
        density: float | None = None,
        aux: float = 0.0,
        importance: float = 0.0,
        z_loss: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = 2 * width if hidden is None else hidden
        for name, side in (("width", width), ("hidden", hidden)):
            if side <= 0 or block <= 0 or side % block:
                raise ArgumentError(f"{name}: should be a multiple of the block, {block}, but is {side}")
        if density is not None and not 0 < density <= 1:
            raise ArgumentError(f"density: should be above 0 and at most 1, but is {density}")
        for name, coefficient in (("aux", aux), ("importance", importance), ("z_loss", z_loss)):
            if not math.isfinite(coefficient):
                raise ArgumentError(f"{name}: should be a finite number, but is {coefficient}")
        self.width, self.experts, self.top_k, self.hidden = width, experts, top_k, hidden
        self.block, self.activation, self.density = block, activation, density
        self.aux, self.importance, self.z_loss = aux, importance, z_loss
        self._balance = None
        drawn = Engine([self._layer()], seed=int(torch.randint(2**31 - 1, ())))
        self._engine = Engine([self._layer()])
        self.router = nn.Parameter(torch.empty(experts, width))
        shapes = [(experts * hidden, width)] * 2
        if density is not None:
            for name, of in zip(("up", "down"), drawn.topologies()):
                for part, index in zip(("crow_indices", "col_indices"), of):
                    self.register_buffer(f"{name}_{part}", index)
            shapes = [(len(col), block, block) for col in (self.up_col_indices, self.down_col_indices)]
        self.up, self.down = (nn.Parameter(torch.empty(shape)) for shape in shapes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights, with small logits at first."""
        share = 1 if self.density is None else self.density
        inputs = [self.width, self.width * share, self.hidden * share]
        with torch.no_grad():
            for weight, variance, inputs in zip((self.router, self.up, self.down), (0.1, 2, 1), inputs):
                bound = math.sqrt(3 * variance / inputs)
                weight.uniform_(-bound, bound)

    @property
    def balance_loss(self) -> torch.Tensor:
        """The losses of balance of the last forward pass in training, each times its coefficient: a number to be added to the loss, with a
        gradient. 0 outside of training and without coefficients.
        """
        return torch.zeros(()) if self._balance is None else self._balance.sum

    @property
    def balance_losses(self) -> dict[str, float]:
        """The losses of the last forward pass in training without their coefficients: ``aux``, ``importance``, ``z_loss``; empty where
        :attr:`balance_loss` is 0.
        """
        return {} if self._balance is None else dict(self._balance.parts)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output, balance = self._engine(input, self._tensors(), self._indices(), self.training)
        self.set_balance(*balance)
        return output

    def set_balance(self, balance) -> None:
        """Takes the losses of a forward pass, also of one of a :class:`Sequential` around this module."""
        self._balance = balance

    def to_dense(self, name: str) -> torch.Tensor:
        """``up`` or ``down`` as ``[experts * hidden, width]``, absent blocks as zeros; autograd goes through it."""
        values = {"up": self.up, "down": self.down}[name]
        if self.density is None:
            return values
        return to_dense(getattr(self, f"{name}_crow_indices"), getattr(self, f"{name}_col_indices"), values, self.width)

    def _layer(self, activation=None, dropout=0.0):
        return {
            "kind": "moe", "width": self.width, "experts": self.experts, "hidden": self.hidden, "top_k": self.top_k,
            "block": self.block, "density": self.density, "activation": self.activation,
            "aux": self.aux, "importance": self.importance, "z_loss": self.z_loss,
        }  # fmt: skip

    def _tensors(self):
        return [self.router, self.up, self.down]

    def _indices(self):
        if self.density is None:
            return []
        return [(self.up_crow_indices, self.up_col_indices), (self.down_crow_indices, self.down_col_indices)]

    def __getstate__(self):
        # Copies and pickles are without the graph of the last pass.
        return self.__dict__ | {"_balance": None}

    def extra_repr(self) -> str:
        text = f"{self.width}, experts={self.experts}, top_k={self.top_k}, hidden={self.hidden}, activation={self.activation!r}"
        return text if self.density is None else f"{text}, density={self.density:.3g}"
