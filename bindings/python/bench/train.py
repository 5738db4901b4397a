"""`fw.train` against the command line: the same run by both, each in a fresh process, in interleaved rounds.

    python bench/train.py PROGRAM [ROUNDS]

PROGRAM is target/release/fretwork. Times are those of the summary, the training without its start, and of the whole process.
"""

import json
import statistics
import subprocess
import sys
import time

program, rounds = sys.argv[1], int([*sys.argv[2:], "7"][0])
OPTIONS = {"data": "fashion-mnist", "hidden": "1024,1024", "sparsity": "0.9", "steps": "300", "test_rows": "1000"}

words = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
code = f"""
import json, fretwork as fw
options = {OPTIONS!r}
run = fw.train(options.pop("data"), progress=False, **options)
print(json.dumps(run.summary))
"""
commands = {"command line": [program, "train", "--json", *words], "fw.train": [sys.executable, "-c", code]}


def run(command):
    """Seconds of the training, of the process, and the summary."""
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took = time.perf_counter() - began
    summary = json.loads(done.stdout.splitlines()[-1])
    return summary["seconds"], took, summary


# The first runs compile the kernels and measure their variants.
first = {name: run(command)[2] for name, command in commands.items()}
assert len({summary["test_loss"] for summary in first.values()}) == 1, "the runs differ"
times = {name: [] for name in commands}
for _ in range(rounds):
    for name, command in commands.items():
        times[name].append(run(command)[:2])
print(f"{' '.join(words)}; {first['fw.train']['adapter']}, {rounds} rounds")
for place, what in enumerate(("training", "whole process")):
    medians = {name: statistics.median(of[place] for of in taken) for name, taken in times.items()}
    ratios = statistics.median(b[place] / a[place] for a, b in zip(*times.values()))
    text = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items())
    print(f"{what}: {text}; median of the ratios of a round {ratios:.3f}")
