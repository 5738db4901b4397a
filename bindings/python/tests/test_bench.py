"""Benches from Python."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import fretwork as fw

#: Without the driver's cache kernels are compiled for a long time.
COLD = os.environ | {"MESA_SHADER_CACHE_DISABLE": "true"}


def test_a_bench_returns_rows_and_prints_tables(capsys, tmp_path):
    shown = []
    report = fw.bench("matmul", rows=16, html=tmp_path / "page.html", show=shown.append)
    assert capsys.readouterr().out == "" and "dense" in "".join(shown)
    assert report.adapter == fw.adapters()[0]["name"] and "matmul" in repr(report) and report.json["subjects"]
    rows = report.rows
    assert {row["role"] for row in rows} >= {"baseline", "candidate"} and {row["subject"] for row in rows} == {"matmul"}
    assert all(row["median_ms"] > 0 for row in rows)
    # Figures are those of the raw times.
    raw = report.json["subjects"][0]["tables"][0]["rows"][0]
    first = rows[0]
    assert first["name"] == raw["name"] and first["median_ms"] == pytest.approx(1e3 * sorted(raw["seconds"])[len(raw["seconds"]) // 2] / raw["times"])
    baselines = [row for row in rows if row["role"] == "baseline" and row["table"] == first["table"]]
    assert max(row["share"] for row in baselines) == pytest.approx(1)
    assert json.dumps(rows) and (tmp_path / "page.html").stat().st_size > 1000
    pandas = pytest.importorskip("pandas", reason="SKIPPED: no pandas")
    assert len(pandas.DataFrame(rows)) == len(rows)


def test_refusals_of_benches_are_the_programs():
    for options, text in [
        ({"subject": "fast"}, "invalid value 'fast'"),
        ({"subject": "sparse", "rows": 15}, "rows: 15 is not a multiple of 16"),
        ({"subject": "sparse", "batch": 4}, "--batch has no effect"),
        ({"subject": "moe", "adapter": "no such device"}, 'no adapter is called "no such device"'),
    ]:
        with pytest.raises(fw.Error, match=text):
            fw.bench(show=False, **options)


def interrupted(code, wait):
    """What a program prints that is interrupted `wait` seconds after it has printed its first line."""
    start = "import signal, time, fretwork as fw\n# A shell may have told its background jobs to ignore it.\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen([sys.executable, "-c", start + code], stdout=subprocess.PIPE, text=True, env=COLD)
    assert process.stdout.readline() == "begin\n"
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    began = time.perf_counter()
    rest = process.communicate(timeout=600)[0]
    print(f"ended after {time.perf_counter() - began:.1f} s")
    assert process.returncode == 0
    return rest


def test_ctrl_c_ends_a_bench():
    code = """
print("begin", flush=True)
try:
    fw.bench("sparse", show=False)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert interrupted(code, 1.5) == "interrupted\n"


def test_ctrl_c_ends_the_preparation_of_a_run_which_leaves_nothing(tmp_path):
    """A method that prunes before the first step compiles the kernels of its passes meanwhile."""
    code = f"""
print("begin", flush=True)
try:
    fw.train("digits", hidden=[512, 512], method="synflow", sparsity=0.9, out={str(tmp_path / "run")!r}, progress=False)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert interrupted(code, 1.0) == "interrupted\n"
    assert not (tmp_path / "run").exists()


def test_ctrl_c_ends_a_fit_that_is_being_prepared():
    pytest.importorskip("sklearn", reason="SKIPPED: no scikit-learn")
    code = """
import numpy as np
x, y = np.random.default_rng(0).normal(size=(200, 64)), np.arange(200) % 2
clf = fw.SparseMLPClassifier(hidden=(512, 512), method="synflow", sparsity=0.9, epochs=1)
print("begin", flush=True)
try:
    clf.fit(x, y)
except KeyboardInterrupt:
    print("interrupted", not hasattr(clf, "classes_") or not hasattr(clf, "n_iter_"))
# The device still works. A small network has few kernels to compile.
print(clf.set_params(hidden=(16,), method="static").fit(x, y).score(x, y) >= 0)
"""
    assert interrupted(code, 1.0) == "interrupted True\nTrue\n"
