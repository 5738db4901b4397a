"""Modules of PyTorch that are really sparse.

Values of a layer are a ``Parameter`` ``[nnz, block, block]`` and its pattern buffers, so that ``state_dict``, ``copy.deepcopy``,
``torch.save``, gradient clipping and any optimizer work as with other modules. Tensors are on the CPU; the products run on fretwork's
device, an adapter of Vulkan, Metal or DX12, which the environment variable ``FRETWORK_ADAPTER`` names or the best one is.

- :class:`SparseLinear`, :class:`MoE`: layers
- :class:`Sequential`: layers whose activations stay on the device between them
- :func:`of_net`: a trained run as a module
- :func:`sparsify`: replaces the ``nn.Linear`` of a model, and moves blocks in training
"""

from .._versions import need

need("torch", "PyTorch", "1.13")

from ._modules import MoE, Sequential, SparseLinear, of_net  # noqa: E402
from ._sparsify import Sparsifier, sparsify  # noqa: E402

__all__ = ["MoE", "Sequential", "SparseLinear", "Sparsifier", "of_net", "sparsify"]
