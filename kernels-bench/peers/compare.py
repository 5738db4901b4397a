#!/usr/bin/env python3
"""Fretwork beside the SciPy peer: the same task, in turns on the same machine.

Both train 784-1000-1000-1000-10 on the first 20,000 images of Fashion-MNIST with SET and All-ReLU, and test on the first 1,000
test images. Fretwork has no more parameters than the peer: as many blocks of 8 x 8 as fit. Each turn is a few epochs of one
and then of the other; what is compared is the median epoch, the test not included.

    cargo build --release
    python3 kernels-bench/peers/compare.py [--turns 3] [--epochs 8]
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parents[1] / "target/release/fretwork"
ROWS, BATCH = 20_000, 128


def last_line(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {result.stderr.strip()}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def peer(seed, epochs):
    done = last_line([sys.executable, str(HERE / "set_scipy.py"), "--epochs", str(epochs), "--seed", str(seed)])
    return done["epoch_seconds"], done["test_accuracy"], done["params"]


def fretwork(seed, epochs, method):
    done = last_line([
        str(PROGRAM), "train", "--data", "fashion-mnist", "--rows", str(ROWS), "--test-rows", "1000",
        "--hidden", "1000,1000,1000", "--block", "8", "--init", "er", "--sparsity", "0.9585",
        "--activation", "all-relu:0.6", "--method", method, "--epochs", str(epochs), "--seed", str(seed), "--json",
    ])
    steps = -(-ROWS // BATCH)
    return done["step_ms"] * steps / 1e3, done["test_accuracy"], done["params_present"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--turns", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=8)
    options = arguments.parse_args()
    runs = {"SciPy": peer, "fretwork, SET as published": lambda s, e: fretwork(s, e, "set-published"),
            "fretwork, SET": lambda s, e: fretwork(s, e, "set")}
    found = {name: [] for name in runs}
    for turn in range(options.turns):
        for name, run in runs.items():
            found[name].append(run(turn + 1, options.epochs))
    print("| what | parameters | seconds an epoch | of the peer's | test accuracy |")
    print("| --- | ---: | ---: | ---: | --- |")
    base = statistics.median(seconds for seconds, *_ in found["SciPy"])
    for name, rows in found.items():
        seconds = statistics.median(seconds for seconds, *_ in rows)
        accuracy = ", ".join(f"{accuracy:.3f}" for _, accuracy, _ in rows)
        print(f"| {name} | {rows[0][2]:,} | {seconds:.2f} | {seconds / base:.2f} | {accuracy} |")


if __name__ == "__main__":
    main()
