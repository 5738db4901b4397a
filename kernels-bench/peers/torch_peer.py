#!/usr/bin/env python3
"""Baseline in PyTorch of the work that `fretwork bench` times.

A layer's products, 1024 x 1024 with 256 rows on a CPU and 4096 x 4096 with 512 rows on CUDA: dense, block-sparse (BSR: MKL's
on a CPU, Triton's on CUDA) and element-sparse (CSR, on a CPU); ten training steps of 784-1024-1024-10 with 128 rows and AdamW,
dense and with a mask of blocks, the usual way of sparse training without sparse kernels; experts' products in
one call (`grouped_mm`, on CUDA). With `--dtype f16` operands are half precision, and steps are under autocast with a loss scale.
Prints a JSON line for each timing, and one with the reason for each that fails. On CUDA a product is launched ten times in a timing
(`times`), so that the host's launches hardly count. The exit code is 3 without PyTorch, and without CUDA where `--device cuda` asks for
it.

    torch_peer.py [--rounds 9] [--device cpu|cuda] [--density 0.1]... [--dtype f32|f16] [--rows N] [--hidden N,N,..] [--batch N]
"""
import argparse
import json
import sys
import time
import warnings

try:
    import torch
    from torch import nn
except ImportError as error:
    print(f"no PyTorch: {error}", file=sys.stderr)
    sys.exit(3)

BLOCKS = (8, 16, 32, 64, 128)
STEPS = 10
TYPES = dict(f32=torch.float32, f16=torch.float16)


class Timer:
    def __init__(self, device, rounds):
        self.device, self.rounds = device, rounds

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def product(self, what, operations, run):
        """Times a product."""
        self(what, operations, run, 10 if self.device == "cuda" else 1)

    def __call__(self, what, operations, run, times=1):
        """Times `times` calls of `run`, or prints the reason why it fails."""
        seconds = []
        try:
            for call in range(self.rounds + 2):
                self.wait()
                start = time.perf_counter()
                for _ in range(times):
                    run()
                self.wait()
                if call >= 2:
                    seconds.append(time.perf_counter() - start)
        except Exception as error:  # a build of PyTorch may refuse in many ways
            print(json.dumps(dict(what=what, missing=str(error).splitlines()[0])), flush=True)
            return
        print(json.dumps(dict(what=what, operations=operations, times=times, seconds=seconds)), flush=True)


def block_mask(out, inputs, block, density, generator):
    """Random mask with exactly round(density * places) blocks."""
    places = (out // block) * (inputs // block)
    chosen = torch.zeros(places, dtype=torch.bool)
    chosen[torch.randperm(places, generator=generator)[: round(density * places)]] = True
    grid = chosen.view(out // block, inputs // block)
    return grid.repeat_interleave(block, 0).repeat_interleave(block, 1)


def products(timer, device, densities, dtype, rows):
    usual, side = (512, 4096) if device == "cuda" else (256, 1024)
    rows = rows or usual
    generator = torch.Generator().manual_seed(1)

    def numbers(*shape):
        return (torch.rand(shape, generator=generator) - 0.5).to(device, dtype)

    x, dy, w = numbers(rows, side), numbers(rows, side), numbers(side, side)
    operations = 2 * rows * side * side
    timer.product("dense x * W^T", operations, lambda: x @ w.T)
    timer.product("dense dy * W", operations, lambda: dy @ w)
    timer.product("dense dy^T * x", operations, lambda: dy.T @ x)
    # Sparse products on the left need feature-major activations.
    columns = x.T.contiguous()
    for density in densities:
        for block in BLOCKS:
            mask = block_mask(side, side, block, density, generator).to(device)
            present = 2 * rows * int(mask.sum())
            bsr = (w * mask).to_sparse_bsr((block, block))
            timer.product(f"x * W^T, blocks of {block}, density {density}", present, lambda: bsr @ columns)
        if device == "cpu" and dtype == torch.float32:
            mask = (torch.rand((side, side), generator=generator) < density)
            csr = (w * mask).to_sparse_csr()
            what = f"x * W^T, single elements (CSR), density {density}"
            timer.product(what, 2 * rows * int(mask.sum()), lambda: csr @ columns)
    if device == "cuda":
        experts, each, hidden = 8, 128, 2048
        tokens = numbers(experts * each, 1024).bfloat16()
        weights = numbers(experts, 1024, hidden).bfloat16()
        ends = torch.arange(each, experts * each + 1, each, device=device, dtype=torch.int32)
        grouped = getattr(nn.functional, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
        timer.product("experts x * W (grouped_mm, bf16)", 2 * experts * each * 1024 * hidden,
                      lambda: grouped(tokens, weights, offs=ends))


class Network(nn.Module):
    """Network of 784 inputs, hidden layers under optional masks, and 10 classes."""

    def __init__(self, hidden, masks):
        super().__init__()
        sides = [784, *hidden, 10]
        self.layers = nn.ModuleList([nn.Linear(before, after) for before, after in zip(sides, sides[1:])])
        self.masks = masks

    def forward(self, x):
        for index, layer in enumerate(self.layers):
            mask = self.masks[index] if self.masks else None
            weight = layer.weight if mask is None else layer.weight * mask
            x = nn.functional.linear(x, weight, layer.bias)
            if index + 1 < len(self.layers):
                x = torch.relu(x)
        return x


def steps(timer, device, dtype, hidden, batch):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((batch, 784), generator=generator).to(device)
    labels = (torch.arange(batch) % 10).to(device)
    sides = list(zip([784, *hidden], hidden))
    half = dtype == torch.float16
    for what, density in (("10 steps, dense", None), ("10 steps, 90 % sparse, blocks of 16", 0.1)):
        masks = None
        present = sum(inputs * outputs for inputs, outputs in sides)
        if density is not None:
            masks = [block_mask(outputs, inputs, 16, density, generator).to(device) for inputs, outputs in sides] + [None]
            present = sum(int(mask.sum()) for mask in masks[:-1])
        network = Network(hidden, masks).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.01)
        scaler = torch.amp.GradScaler(device, enabled=half)

        def train():
            for _ in range(STEPS):
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(device, torch.float16, enabled=half):
                    loss = nn.functional.cross_entropy(network(x), labels)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()

        timer(what, 6 * batch * STEPS * (present + 10 * hidden[-1] + sum(hidden) + 10), train)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--density", type=float, action="append", help="of sparse products; 0.1 by default")
    parser.add_argument("--dtype", choices=tuple(TYPES), default="f32")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--hidden", type=lambda text: [int(width) for width in text.split(",")], default=[1024, 1024])
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no GPU", file=sys.stderr)
        return 3
    print(json.dumps(dict(system=f"PyTorch {torch.__version__}", device=options.device, threads=torch.get_num_threads())))
    # TF32 is off, since fretwork's f32 is full precision.
    torch.backends.cuda.matmul.allow_tf32 = False
    warnings.filterwarnings("ignore", message="Sparse")  # warnings of beta status
    timer = Timer(options.device, options.rounds)
    dtype = TYPES[options.dtype]
    products(timer, options.device, options.density or [0.1], dtype, options.rows)
    steps(timer, options.device, dtype, options.hidden, options.batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
