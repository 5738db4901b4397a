"""Modules of PyTorch that are really sparse.

Values of a layer are a ``Parameter`` ``[nnz, block, block]`` and its pattern buffers, so that ``state_dict``, ``copy.deepcopy``,
``torch.save``, gradient clipping and any optimizer work as with other modules. Tensors are on the CPU; the products run on fretwork's
device, an adapter of Vulkan, Metal or DX12, which the environment variable ``FRETWORK_ADAPTER`` names or the best one is.

- :class:`SparseLinear`, :class:`MoE`: layers
- :class:`Sequential`: layers whose activations stay on the device between them
- :func:`of_net`: a trained run as a module
- :func:`load_file`, :func:`save_file`: weights as safetensors, dense and block-sparse, in the layout of runs and exports
- :func:`sparsify`: replaces the ``nn.Linear`` of a model, and moves or prunes blocks in training
"""

from .._versions import need

need("torch", "PyTorch", "1.13")

from ._files import load_file, save_file  # noqa: E402
from ._modules import Sequential, SparseLinear, of_net  # noqa: E402
from ._moe import MoE  # noqa: E402
from ._sparsify import Sparsifier, sparsify  # noqa: E402

__all__ = ["MoE", "Sequential", "SparseLinear", "Sparsifier", "load_file", "of_net", "save_file", "sparsify"]
