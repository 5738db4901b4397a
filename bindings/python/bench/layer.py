"""Forward and backward pass of one layer in a loop of PyTorch, in interleaved rounds: fretwork's SparseLinear, the same plans without
staging, PyTorch's dense layer and, where it has one, its BSR product. Times are medians of the rounds, and shares medians of the ratios
within a round.

    python bench/layer.py [SIDE] [DENSITY] [BATCH]
"""

import statistics
import sys
import time

import torch
from torch import nn

import fretwork as fw

side, density, batch = (cast(text) for cast, text in zip((int, float, int), [*sys.argv[1:], "1024", "0.1", "256"][:3]))
ROUNDS = 51

torch.manual_seed(0)
sparse = fw.torch.SparseLinear(side, side, block=16, density=density)
dense = sparse.to_linear()
x = torch.randn(batch, side, requires_grad=True)
dy = torch.randn(batch, side)


def step(layer):
    def run():
        x.grad = None
        layer.zero_grad()
        layer(x).backward(dy)

    return run


def bsr():
    """Forward and the gradient of the input; PyTorch has no gradient of a BSR weight, so a dense one is cut to the pattern."""
    with torch.no_grad():
        weight = sparse.to_sparse_bsr()
        nn.functional.linear(x, weight) + sparse.bias
        torch.matmul(transposed, dy.T).T
        sparse.blocks_of(dy.T @ x)
        dy.sum(0)


def seconds(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


rows = {"fretwork in PyTorch": step(sparse), "PyTorch dense": step(dense)}
try:
    transposed = sparse.to_dense().T.contiguous().to_sparse_bsr((16, 16))
    bsr()
    rows["PyTorch BSR"] = bsr
except (AttributeError, RuntimeError, NotImplementedError) as error:
    print(f"no BSR products in PyTorch {torch.__version__}: {error}")
for run in rows.values():
    run()
times = {name: [] for name in [*rows, "fretwork, no staging"]}
for _ in range(ROUNDS):
    for name, run in rows.items():
        times[name].append(seconds(run))
    times["fretwork, no staging"].append(sparse._engine._network.seconds(batch, True, 1))
own = times["fretwork, no staging"]
print(f"{side} x {side}, density {density}, batch {batch}; {fw.adapters()[0]['name']}; PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
for name, of in times.items():
    share = statistics.median(bare / each for bare, each in zip(own, of))
    print(f"{name:<22} {1e3 * statistics.median(of):8.2f} ms   {share:.2f} of the speed without staging")
