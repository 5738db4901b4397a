"""Test accuracy on Fashion-MNIST of SparseLinear and of masked dense layers in PyTorch's own loop, with AdamW: 784-512-512-10, the first two
layers at density 0.1 in blocks of 16. Both begin with the same weights and see the rows in the same order.

    python bench/fashion.py [EPOCHS] [SEEDS]

The data is that of Debian's package dataset-fashion-mnist, or of $FRETWORK_DATA/fashion-mnist.
"""

import copy
import gzip
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import fretwork as fw

epochs, seeds = (int(text) for text in [*sys.argv[1:], "3", "3"][:2])
BATCH, RATE = 128, 1e-3


def part(name):
    """Pixels in [0, 1] and classes of a part of the data."""
    data = os.environ.get("FRETWORK_DATA")
    folder = Path(data) / "fashion-mnist" if data else Path("/usr/share/datasets/fashion-mnist")
    read = lambda file, head: np.frombuffer(gzip.decompress((folder / f"{name}-{file}.gz").read_bytes()), np.uint8, offset=head)  # noqa: E731
    pixels = read("images-idx3-ubyte", 16).reshape(-1, 784)
    return torch.from_numpy(pixels.astype(np.float32) / 255), torch.from_numpy(read("labels-idx1-ubyte", 8).astype(np.int64))


class Masked(nn.Module):
    """Dense layer with the weights and the pattern of a sparse one."""

    def __init__(self, layer):
        super().__init__()
        self.weight = nn.Parameter(layer.to_dense().detach().clone())
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.register_buffer("mask", layer.mask().float())

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


def accuracy(model, seed):
    """Accuracy on the test rows after the training."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return 100 * (torch.cat([model(rows) for rows in x_test.split(1000)]).argmax(1) == y_test).float().mean().item()


(x, y), (x_test, y_test) = part("train"), part("t10k")
print(f"Fashion-MNIST, {epochs} epochs, AdamW {RATE}, batches of {BATCH}; {fw.adapters()[0]['name']}; PyTorch {torch.__version__}")
found = []
for seed in range(1, seeds + 1):
    torch.manual_seed(seed)
    sparse = nn.Sequential(
        fw.torch.SparseLinear(784, 512, block=16, density=0.1), nn.ReLU(),
        fw.torch.SparseLinear(512, 512, block=16, density=0.1), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip
    masked = nn.Sequential(*[Masked(layer) if isinstance(layer, fw.torch.SparseLinear) else copy.deepcopy(layer) for layer in sparse])
    found.append([accuracy(model, seed) for model in (sparse, masked)])
    print(f"seed {seed}: SparseLinear {found[-1][0]:.2f} %, masked dense {found[-1][1]:.2f} %", flush=True)
means = np.mean(found, 0)
print(f"mean: SparseLinear {means[0]:.2f} %, masked dense {means[1]:.2f} %, difference {means[0] - means[1]:+.2f} points")
