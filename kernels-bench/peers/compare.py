#!/usr/bin/env python3
"""Fretwork compared with other systems: the same work in interleaved rounds on one machine, in one table.

The work is a layer's products and ten training steps, in PyTorch and Burn, and whole epochs of SET, in SciPy. Each baseline is a
program beside this file. A missing system is named, with the command that installs it.

The SET networks are 784-1000-1000-1000-10, on the first 20,000 images of Fashion-MNIST with All-ReLU, tested on the first 1,000
test images. The baseline runs twice, with the published program's arrays and arithmetic and with faster ones. Fretwork has about
as many parameters as the baseline, whose number is random, or a third of them. The time of an epoch is the median, without the
test.

    cargo build --release
    python3 kernels-bench/peers/compare.py [--turns 3] [--epochs 6] [--only products] [--only set]
        [--dtype f16] [--rows N] [--hidden N,N,..] [--batch N] [--density 0.1]

The options of the second line set type and sizes of products and steps, by default sizes that suit the device. Burn runs at its
default sizes only, and is left out at others.

Baselines in Python run under the Python that runs this file.
"""
import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parents[1] / "target/release/fretwork"
BURN = HERE / "burn/target/release/burn-peer"
ROWS, BATCH = 20_000, 128
EQUAL = "0.9585"  # as many parameters as the baseline: 20 * (inputs + outputs) weights a layer


def lines(command):
    """JSON lines printed by a program."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {result.stderr.strip()}")
    return [json.loads(line) for line in result.stdout.strip().splitlines()]


def needs(*modules):
    """Command that installs the missing modules, or None."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return f"{sys.executable} -m pip install {' '.join(missing)}" if missing else None


def fretwork_products(sizes, density):
    found = []
    for subject in ("sparse", "step"):
        command = [str(PROGRAM), "bench", subject, "--json", *sizes]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise SystemExit(f"fretwork bench {subject} failed: {result.stderr.strip()}")
        for table in json.loads(result.stdout)["subjects"][0]["tables"]:
            if subject == "sparse" and not table["title"].endswith(f"density {density}"):
                continue
            prefix = "10 steps, " if subject == "step" else ""
            for row in table["rows"]:
                if row["role"] in ("baseline", "candidate"):
                    of = f", density {density}" if "blocks of" in row["name"] and subject == "sparse" else ""
                    seconds = [second / row["times"] for second in row["seconds"]]
                    found.append(dict(what=prefix + row["name"] + of, operations=row["operations"], seconds=seconds))
    return found


def torch_products(sizes, density):
    found = lines([sys.executable, HERE / "torch_peer.py", "--rounds", "5", "--density", density, *sizes])
    return [row for row in found if "what" in row]


def burn_products():
    return lines([BURN, "5"])


def products(turns, sizes, density):
    """Times products and steps of all systems in interleaved rounds."""
    systems = {"fretwork": (lambda: fretwork_products(sizes, density), None if PROGRAM.exists() else "cargo build --release")}
    systems["PyTorch"] = (lambda: torch_products(sizes, density), needs("torch"))
    build = f"cargo build --release --manifest-path {BURN.parents[2] / 'Cargo.toml'}"
    if not sizes:
        systems["Burn"] = (burn_products, None if BURN.exists() else build)
    found, missing = {}, []
    for _ in range(turns):
        for system, (run, how) in systems.items():
            for row in [] if how else run():
                if "missing" in row:
                    missing.append(f"{system} has no {row['what']} here: {row['missing']}")
                    continue
                entry = found.setdefault(row["what"], {}).setdefault(system, [row["operations"], []])
                entry[1].extend(second / row.get("times", 1) for second in row["seconds"])
    missing += [f"{system} is not here: {how}" for system, (_, how) in systems.items() if how]
    print(f"| what, sparse at density {density} | system | median ms | GFLOP/s | fretwork is times as fast |")
    print("| --- | --- | ---: | ---: | ---: |")
    for what, by_system in found.items():
        ours = by_system.get("fretwork")
        for system, (operations, seconds) in by_system.items():
            median = statistics.median(seconds)
            times = "" if system == "fretwork" or not ours else f"{median / statistics.median(ours[1]):.2f}"
            # Systems may choose different sizes, by their device.
            if ours and abs(operations / ours[0] - 1) > 0.02:
                times = "of another size"
            print(f"| {what} | {system} | {median * 1e3:.2f} | {operations / median / 1e9:.1f} | {times} |")
    print()
    for line in dict.fromkeys(missing):
        print(f"{line}\n")


def scipy_set(seed, epochs, *options):
    done = lines([sys.executable, HERE / "set_scipy.py", "--epochs", epochs, "--seed", seed, *options])[-1]
    return done["epoch_seconds"], done["test_accuracy"], done["params"]


def fretwork_set(seed, epochs, method, sparsity):
    *events, done = lines([
        PROGRAM, "train", "--data", "fashion-mnist", "--rows", ROWS, "--test-rows", "1000",
        "--hidden", "1000,1000,1000", "--block", "8", "--init", "er", "--sparsity", sparsity,
        "--activation", "all-relu:0.6", "--method", method, "--epochs", epochs, "--seed", seed, "--json",
    ])
    steps = -(-ROWS // BATCH)
    seconds = statistics.median(steps / event["steps_per_second"] for event in events if event["event"] == "epoch")
    return seconds, done["test_accuracy"], done["params_present"]


def sets(turns, epochs):
    """Times epochs of SET of both systems in interleaved rounds."""
    how = needs("numpy", "scipy", "numba")
    if how:
        print(f"SET on SciPy is not here: {how}\n")
        return
    runs = {
        "SciPy, as the published program": lambda *of: scipy_set(*of, "--published"),
        "SciPy, feature-major": scipy_set,
        "fretwork, SET as published": lambda *of: fretwork_set(*of, "set-published", EQUAL),
        "fretwork, SET": lambda *of: fretwork_set(*of, "set", EQUAL),
        "fretwork, SET, 99 % sparse": lambda *of: fretwork_set(*of, "set", "0.99"),
    }
    found = {name: [] for name in runs}
    for turn in range(turns):
        for name, run in runs.items():
            found[name].append(run(turn + 1, epochs))
    print("| what | parameters | seconds an epoch | published / this | feature-major / this | test accuracy |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    median = {name: statistics.median(seconds for seconds, *_ in rows) for name, rows in found.items()}
    published, feature_major, *_ = median.values()
    for name, rows in found.items():
        times = " | ".join(f"{baseline / median[name]:.2f}" for baseline in (published, feature_major))
        accuracy = ", ".join(f"{accuracy:.3f}" for _, accuracy, _ in rows)
        print(f"| {name} | {rows[0][2]:,} | {median[name]:.2f} | {times} | {accuracy} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--turns", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=6)
    arguments.add_argument("--only", action="append", choices=("products", "set"))
    sized = [arguments.add_argument(f"--{name}").dest for name in ("dtype", "rows", "hidden", "batch")]
    arguments.add_argument("--density", type=float, default=0.1, choices=(0.05, 0.1, 0.25, 0.5), help="of sparse products")
    options = arguments.parse_args()
    sizes = [word for name in sized if (value := getattr(options, name)) for word in (f"--{name}", value)]
    only = options.only or ["products", "set"]
    if "products" in only:
        products(options.turns, sizes, options.density)
    if "set" in only:
        sets(options.turns, options.epochs)


if __name__ == "__main__":
    main()
