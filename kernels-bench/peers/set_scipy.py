#!/usr/bin/env python3
"""Baseline: a "truly sparse" SET multilayer perceptron on the CPU, with SciPy CSR matrices.

It stands for the NumPy and SciPy of today: only present weights are stored and updated, without masks over dense
matrices. All arithmetic is float32, and features are standardized. SciPy's sparse products run on one thread; the weight
gradient, in Numba, runs on all cores, or on NUMBA_NUM_THREADS of them.

There are two variants of equal accuracy. By default activations are feature-major, (features, batch), and weights are CSR of
shape (n_out, n_in), so that the forward product, the backward product (the transpose is a CSC view) and the sampled weight
gradient all run along contiguous batch rows. With --published arrays and arithmetic are those of the published program:
a sample's features are contiguous, the gradient is summed across them, and gradients, momentum and weights are sparse
matrices that are added as such. Biases do not decay, and a last batch that is not full is trained on, in both.

The method is from:
- Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
  network science", Nature Communications 9, 2383: Erdos-Renyi layers and their evolution (SET).
- Curci, Mocanu, Pechenizkiy 2021, "Truly Sparse Neural Networks at Scale", arXiv:2102.01732: All-ReLU, CPU training.
"""
import argparse
import gzip
import json
import os
import statistics
import time
from pathlib import Path

import numba
import numpy as np
from scipy import sparse

SYSTEM_DATA = Path("/usr/share/datasets/fashion-mnist")  # the folder of Debian's package dataset-fashion-mnist
F32 = np.float32


def find_data(given):
    if given or SYSTEM_DATA.is_dir():
        return Path(given or SYSTEM_DATA)
    if not os.environ.get("FRETWORK_DATA"):
        raise SystemExit(f"no data: {SYSTEM_DATA} is missing and FRETWORK_DATA is unset (see --data)")
    return Path(os.environ["FRETWORK_DATA"]) / "fashion-mnist"


def read_idx(path):
    """An IDX file of unsigned bytes."""
    raw = gzip.decompress(path.read_bytes())
    assert raw[:3] == b"\0\0\x08", f"{path} is not an IDX file of bytes"
    shape = np.frombuffer(raw, ">u4", raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def load(folder, split, rows):
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
    assert rows <= len(images) == len(labels), f"{rows} {split} rows of {len(images)} images, {len(labels)} labels"
    return images[:rows].reshape(rows, -1).astype(F32), labels[:rows].astype(np.int64)


def standardized(x, test_x):
    """Standardizes both by the mean and deviation of the first; a constant feature becomes 0."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = np.inf
    return (x - mean) / deviation, (test_x - mean) / deviation


@numba.njit(parallel=True, fastmath=True)
def weight_gradient(indptr, indices, delta, inputs, scale, out):
    """SDDMM: out = scale * (delta @ inputs.T), at the pattern's non-zeros only."""
    for row in numba.prange(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            column = indices[k]
            total = np.float32(0)
            for sample in range(delta.shape[1]):
                total += delta[row, sample] * inputs[column, sample]
            out[k] = total * scale


@numba.njit(parallel=True, fastmath=True)
def published_gradient(rows, columns, delta, inputs, out):
    """SDDMM over arrays of (batch, features), in which consecutive samples are a row of features apart."""
    for k in numba.prange(len(out)):
        total = np.float32(0)
        for sample in range(delta.shape[0]):
            total += delta[sample, rows[k]] * inputs[sample, columns[k]]
        out[k] = total / np.float32(delta.shape[0])


def csr_at(keys, values, shape):
    """The CSR matrix with `values` at the sorted flat positions `keys`."""
    rows, columns = np.divmod(keys, shape[1])
    indptr = np.searchsorted(rows, np.arange(shape[0] + 1))
    return sparse.csr_array((values, columns.astype(np.int32), indptr.astype(np.int32)), shape=shape)


def keys_of(matrix):
    """The flat positions of a CSR matrix's entries, in their order."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows * matrix.shape[1] + matrix.indices


class Layer:
    def __init__(self, n_in, n_out, epsilon, rng):
        size = n_in * n_out
        chance = min(1.0, epsilon * (n_in + n_out) / size)
        # A binomial count of distinct positions: each entry is kept with probability `chance`, independently.
        keys = np.sort(rng.choice(size, rng.binomial(size, chance), replace=False))
        self.bound = (6 / n_in) ** 0.5
        self.weights = csr_at(keys, self.fresh(len(keys), rng), (n_out, n_in))
        self.velocity = np.zeros(len(keys), F32)
        self.gradient = np.empty(len(keys), F32)
        self.bias = np.zeros((n_out, 1), F32)
        self.bias_velocity = np.zeros_like(self.bias)

    def fresh(self, count, rng):
        return rng.uniform(-self.bound, self.bound, count).astype(F32)

    def affine(self, inputs):
        return self.weights @ inputs + self.bias

    def back(self, delta):
        return self.weights.T @ delta

    def step(self, inputs, delta, args):
        """One SGD step; `delta` is the loss gradient behind the affine map, not yet divided by the batch size."""
        w, scale = self.weights, F32(1 / delta.shape[1])
        weight_gradient(w.indptr, w.indices, delta, inputs, scale, self.gradient)
        self.velocity *= F32(args.momentum)
        self.velocity -= F32(args.lr) * self.gradient
        w.data += self.velocity - F32(args.weight_decay) * w.data
        self.step_bias(delta, args)

    def step_bias(self, delta, args):
        scale = F32(1 / delta.shape[1])
        self.bias_velocity *= F32(args.momentum)
        self.bias_velocity -= F32(args.lr) * scale * delta.sum(axis=1, keepdims=True)
        self.bias += self.bias_velocity

    def evolve(self, zeta, rng):
        """SET: drops the `zeta` of the positive and of the negative weights nearest zero, regrows as many elsewhere.

        The new positions are uniform over all that are empty after the removal."""
        w, (n_out, n_in) = self.weights, self.weights.shape
        keep = np.ones(w.nnz, bool)
        for sign in (w.data > 0, w.data < 0):
            (at,) = np.nonzero(sign)
            count = int(zeta * len(at))
            if count:
                keep[at[np.argpartition(np.abs(w.data[at]), count - 1)[:count]]] = False
        grown = w.nnz - np.count_nonzero(keep)
        keys = keys_of(w)
        kept = keys[keep]  # sorted, as CSR rows and columns are
        # The r-th empty position lies behind every kept one that has at most r empty positions before it.
        rank = rng.choice(n_out * n_in - len(kept), grown, replace=False)
        new = rank + np.searchsorted(kept - np.arange(len(kept)), rank, side="right")
        keys = np.concatenate([kept, new])
        order = np.argsort(keys)
        values = np.concatenate([w.data[keep], self.fresh(grown, rng)])
        self.weights = csr_at(keys[order], values[order], w.shape)
        self.velocity = np.concatenate([self.velocity[keep], np.zeros(grown, F32)])[order]


class PublishedLayer(Layer):
    """Variant on (features, batch) in Fortran order, which is (batch, features) in C order, with matrices for arrays."""

    def __init__(self, n_in, n_out, epsilon, rng):
        super().__init__(n_in, n_out, epsilon, rng)
        self.weights, self.velocity = self.weights.tocsc(), self.weights.tocsc() * F32(0)

    def affine(self, inputs):
        return np.asfortranarray(super().affine(inputs))

    def back(self, delta):
        return np.asfortranarray(super().back(delta))

    def step(self, inputs, delta, args):
        gradient = self.weights.tocoo()
        published_gradient(gradient.row, gradient.col, delta.T, inputs.T, gradient.data)
        self.velocity = F32(args.momentum) * self.velocity - F32(args.lr) * gradient.tocsc()
        self.weights += self.velocity - F32(args.weight_decay) * self.weights
        self.step_bias(delta, args)

    def evolve(self, zeta, rng):
        """A sum of matrices drops what is 0, so there may be less momentum than there are weights, or more."""
        self.weights, velocity = self.weights.tocsr(), self.velocity.tocsr()
        self.velocity = np.zeros(self.weights.nnz, F32)
        keys, momentum = keys_of(self.weights), keys_of(velocity)
        at, there = np.searchsorted(keys, momentum), np.isin(momentum, keys)
        self.velocity[at[there]] = velocity.data[there]
        super().evolve(zeta, rng)
        velocity = sparse.csr_array((self.velocity, self.weights.indices, self.weights.indptr), self.weights.shape)
        self.weights, self.velocity = self.weights.tocsc(), velocity.tocsc()


class Network:
    def __init__(self, widths, args, rng):
        kind = PublishedLayer if args.published else Layer
        self.layers = [kind(n_in, n_out, args.epsilon, rng) for n_in, n_out in zip(widths, widths[1:])]
        # All-ReLU: the slope left of zero alternates in sign, negative behind the first hidden layer.
        self.slopes = [F32(-args.alpha if i % 2 == 0 else args.alpha) for i in range(len(widths) - 2)]
        self.args, self.rng = args, rng

    def forward(self, x, dropout=0.0):
        """The logits, each layer's input, and each hidden layer's derivative (activation times dropout)."""
        inputs, derivatives = [x], []
        for layer, slope in zip(self.layers, self.slopes):
            z = layer.affine(inputs[-1])
            derivative = (z > 0) * (1 - slope)
            derivative += slope  # 1 or the slope; np.where takes many times as long
            if dropout:
                derivative *= (self.rng.random(z.shape, F32) >= dropout) * F32(1 / (1 - dropout))
            z *= derivative  # All-ReLU is linear on either side, and dropout scales: both are one factor
            inputs.append(z)
            derivatives.append(derivative)
        return self.layers[-1].affine(inputs[-1]), inputs, derivatives

    def train_batch(self, x, labels):
        logits, inputs, derivatives = self.forward(x, self.args.dropout)
        delta = np.exp(logits - logits.max(axis=0))
        delta /= delta.sum(axis=0)
        delta[labels, np.arange(len(labels))] -= 1  # softmax cross-entropy: probabilities minus one-hot
        for i in reversed(range(len(self.layers))):
            layer, below = self.layers[i], delta
            if i:  # with the weights as they were in the forward pass
                below = layer.back(delta) * derivatives[i - 1]
            layer.step(inputs[i], delta, self.args)
            delta = below

    def accuracy(self, x, labels):
        return float(np.mean(self.forward(x)[0].argmax(axis=0) == labels))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with the four Fashion-MNIST .gz files")
    for name, default in dict(rows=20000, test_rows=1000, epochs=8, seed=0, batch=128).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    for name, default in dict(epsilon=20.0, alpha=0.6, dropout=0.3, lr=0.01, momentum=0.9, weight_decay=0.0002,
                              zeta=0.3).items():
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=default)
    parser.add_argument("--hidden", type=lambda text: [int(n) for n in text.split(",")], default=[1000, 1000, 1000])
    parser.add_argument("--published", action="store_true", help="arrays and arithmetic of the published program")
    return parser.parse_args()


def main():
    args = arguments()
    rng = np.random.default_rng(args.seed)
    folder = find_data(args.data)
    (x, labels), (test_x, test_labels) = load(folder, "train", args.rows), load(folder, "t10k", args.test_rows)
    x, test_x = standardized(x, test_x)
    as_it_lies = (lambda rows: rows.T) if args.published else (lambda rows: np.ascontiguousarray(rows.T))
    network = Network([x.shape[1], *args.hidden, 10], args, rng)
    # Numba compiles on the first call: make that here, on a throw-away layer with the very types of the run.
    some = as_it_lies(np.ones((2, 4), F32))
    type(network.layers[0])(4, 4, 4.0, np.random.default_rng(0)).step(some, some, args)
    times = []
    for epoch in range(1, args.epochs + 1):
        start = time.perf_counter()
        order = rng.permutation(len(x))
        for at in range(0, len(x), args.batch):
            rows = order[at:at + args.batch]
            network.train_batch(as_it_lies(x[rows]), labels[rows])
        seconds = time.perf_counter() - start
        accuracy = network.accuracy(as_it_lies(test_x), test_labels)  # before the evolution, and not timed
        start = time.perf_counter()
        if epoch < args.epochs:
            for layer in network.layers[:-1]:
                layer.evolve(args.zeta, rng)
        times.append(seconds + time.perf_counter() - start)  # the steps and the evolution
        print(json.dumps(dict(event="epoch", epoch=epoch, seconds=round(times[-1], 4), test_accuracy=accuracy)),
              flush=True)
    params = sum(layer.weights.nnz + layer.bias.size for layer in network.layers)
    print(json.dumps(dict(event="done", params=params, epoch_seconds=round(statistics.median(times), 4),
                          test_accuracy=accuracy, threads=numba.get_num_threads())))


if __name__ == "__main__":
    main()
