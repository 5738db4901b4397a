"""Weights as safetensors files, in the layout of the library's exports: block-sparse weights by the parts of their BSR tensors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .. import _fretwork
from .._versions import need
from ..errors import ArgumentError, DataError, FileError
from ._blocks import bsr
from ._modules import SparseLinear
from ._moe import MoE

__all__ = ["load_file", "save_file"]

_PARTS = ("crow_indices", "col_indices", "values", "shape")


def load_file(file: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The weights of a safetensors file by name, ``layers.0.weight`` for one: of an export, of a run's checkpoint, or of
    :func:`save_file`. Block-sparse weights are BSR tensors ``[out, in]``, whose sides are padded to whole blocks::

        weights = fretwork.torch.load_file("runs/a/checkpoint.safetensors")
        layer = SparseLinear.from_sparse_bsr(weights["layers.0.weight"], weights["layers.0.bias"])
    """
    need("safetensors", "safetensors", "0.4")
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load
    from safetensors.torch import load_file as read

    path = os.fspath(file)
    try:
        with safe_open(path, "pt") as opened:
            entries = opened.metadata() or {}
        if any(key.startswith("fretwork.checkpoint.") for key in entries):
            with open(path, "rb") as opened:
                tensors = load(_fretwork.weights_of_checkpoint(path, opened.read()))
        else:
            tensors = read(path)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise DataError(f"{path}: is no whole safetensors file: {error}") from error
    for name in [name.removesuffix(".crow_indices") for name in tensors if name.endswith(".crow_indices")]:
        missing = [f"{name}.{part}" for part in _PARTS if f"{name}.{part}" not in tensors]
        if missing:
            raise DataError(f"{path}: has no {missing[0]}, which a block-sparse weight needs")
        crow, col, values, shape = (tensors.pop(f"{name}.{part}") for part in _PARTS)
        if values.ndim != 3 or values.shape[1] != values.shape[2]:
            raise DataError(f"{path}: {name}.values should be of shape [nnz, block, block], but are of {list(values.shape)}")
        size = [-(-int(side) // values.shape[1]) * values.shape[1] for side in shape]
        try:
            tensors[name] = bsr(crow.long(), col.long(), values, size, validate=True)
        except RuntimeError as error:
            raise DataError(f"{path}: {name}: {error}") from error
    return tensors


def save_file(weights: nn.Module | Mapping[str, torch.Tensor], file: str | os.PathLike[str], *, names: str = "modules") -> str:
    """Writes the weights of a module, or tensors by name, as :func:`load_file` reads them. BSR tensors and the values of
    :class:`SparseLinear` and :class:`MoE` are written as block-sparse weights. The file is written beside an older one and renamed. Returns
    its path.

    Parameters
    ----------
    weights : nn.Module or mapping
        A module, or tensors by name.
    file : path
        The file.
    names : str
        ``"modules"`` for the names of the module: ``0.weight``. ``"layers"`` numbers the linear layers, ``layers.0.weight``, as in the run of
        a perceptron, so that ``fretwork.train(..., init_from=file)`` starts from them. It has a bias in every layer; one that is missing is
        written as zeros.
    """
    need("safetensors", "safetensors", "0.4")
    from safetensors.torch import save

    if names not in ("modules", "layers"):
        raise ArgumentError(f"names: should be modules or layers, but is {names!r}")
    if isinstance(weights, nn.Module):
        found = _of_modules(weights) if names == "modules" else _of_layers(weights)
    elif names == "modules":
        found = {name: (tensor, None) for name, tensor in weights.items()}
    else:
        raise ArgumentError("names: should be modules where tensors come with their names")
    tensors: dict[str, torch.Tensor] = {}
    for name, (tensor, shape) in found.items():
        tensor = tensor.detach()
        if tensor.layout == torch.sparse_bsr:
            parts = (tensor.crow_indices().int(), tensor.col_indices().int(), tensor.values(), torch.tensor(shape or tensor.shape).int())
            tensors |= {f"{name}.{part}": of for part, of in zip(_PARTS, parts)}
        else:
            tensors[name] = tensor
    # A copy each, since tied weights share their memory.
    bytes = save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})
    path = os.fspath(file)
    try:
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path) or ".", prefix=f".{os.path.basename(path)}.", delete=False) as written:
            written.write(bytes)
        os.replace(written.name, path)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    return path


def _of_modules(model: nn.Module) -> dict[str, Any]:
    """Tensors by the names of modules, each with its shape without padding, or None for its own."""
    found = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, SparseLinear):
            of = {"weight": module.to_sparse_bsr()} | ({} if module.bias is None else {"bias": module.bias})
        elif isinstance(module, MoE):
            of = {"router.weight": module.router, "experts.up.weight": module.up, "experts.down.weight": module.down}
            if module.density is not None:
                size = (module.experts * module.hidden, module.width)
                for part, values, index in zip(("up", "down"), (module.up, module.down), module._indices()):
                    of[f"experts.{part}.weight"] = bsr(*index, values, size)
        else:
            of = dict(module.named_parameters(recurse=False))
            of |= {part: buffer for part, buffer in module.named_buffers(recurse=False) if part not in module._non_persistent_buffers_set}
        found |= {prefix + part: (tensor, None) for part, tensor in of.items()}
    return found


def _of_layers(model: nn.Module) -> dict[str, Any]:
    """Tensors of a chain of linear layers, numbered."""
    found, number, padding = {}, 0, 0
    for name, module in model.named_modules():
        if isinstance(module, nn.ConstantPad1d) and number == 0:
            # As `of_net` pads the features of a run.
            padding = module.padding[1]
        if not isinstance(module, (SparseLinear, nn.Linear)):
            if next(module.parameters(recurse=False), None) is not None:
                raise ArgumentError(f"weights: {name} ({type(module).__name__}) is no linear layer, and a perceptron has no other")
            continue
        shape = [module.out_features, module.in_features - padding]
        weight = module.to_sparse_bsr() if isinstance(module, SparseLinear) else module.weight[:, : shape[1]]
        bias = torch.zeros(module.out_features) if module.bias is None else module.bias
        found |= {f"layers.{number}.weight": (weight, shape), f"layers.{number}.bias": (bias, None)}
        number, padding = number + 1, 0
    if not found:
        raise ArgumentError("weights: should be a module with linear layers, but has none")
    return found
