"""Runs and trained networks."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fretwork as fw

SMALL = {"hidden": [64], "sparsity": 0.5, "epochs": 20, "progress": False}


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return fw.train(f"csv:{table}", out=tmp_path_factory.mktemp("runs") / "a", **SMALL)


def test_a_run_learns_and_tells_of_it(run):
    assert run.finished and run.test_accuracy > 0.8 and run.test_rmse is None
    assert run.steps == 20 * 3 and run.summary["params_present"] < run.summary["params_dense"]
    assert "test accuracy" in repr(run)


def test_a_run_has_the_bits_of_the_program(run, table, tmp_path):
    program = os.environ.get("FRETWORK_PROGRAM")
    if program is None:
        pytest.skip("FRETWORK_PROGRAM names no program to compare with")
    words = ["--data", f"csv:{table}", "--hidden", "64", "--sparsity", "0.5", "--epochs", "20", "--out", tmp_path / "b"]
    subprocess.run([program, "train", *words], check=True, capture_output=True)
    assert (tmp_path / "b/checkpoint.safetensors").read_bytes() == (Path(run.folder) / "checkpoint.safetensors").read_bytes()


def test_a_loaded_run_predicts_names(run, table):
    net = fw.load(run.folder)
    assert list(net.classes) == ["ash", "elm", "oak"] and net.settings["model"]["hidden"] == [64]
    lines = table.read_text().splitlines()
    truth = np.array([line.rpartition(",")[2] for line in lines[1:]])
    found = net.predict(table)
    assert (found == truth).mean() > 0.8
    shares = net.predict_proba(table)
    assert shares.shape == (400, 3) and np.allclose(shares.sum(1), 1)
    assert (net.classes[shares.argmax(1)] == found).all()
    # An array has no categories.
    with pytest.raises(fw.errors.DataError, match='column "colour" has categories'):
        net.predict(np.zeros((2, 3)))
    assert (run.load().predict(table) == found).all()


def test_frames_are_encoded_as_files_are(run, table):
    pandas = pytest.importorskip("pandas", reason="SKIPPED: no pandas")
    frame = pandas.read_csv(table)
    net = fw.load(run.folder)
    assert (net.predict(frame.drop(columns="kind")) == net.predict(table)).all()
    # Columns are found by name.
    assert (net.predict_proba(frame[["height", "width", "colour"]]) == net.predict_proba(table)).all()
    with pytest.raises(fw.errors.DataError, match='has no column "height"'):
        net.predict(frame[["width", "colour"]])


def test_a_regression_predicts_in_the_units_of_the_table(numbers, tmp_path):
    run = fw.train(f"csv:{numbers}", task="regression", hidden=[64], sparsity=0.5, epochs=60, out=tmp_path / "r", progress=False)
    assert run.test_accuracy is None and run.test_rmse < 5
    net = run.load()
    assert net.classes is None
    rows = np.array([[0.0, 0.0], [1.0, -1.0], [-1.0, 0.5]])
    assert np.abs(net.predict(rows) - (100 + 20 * rows[:, 0] - 10 * rows[:, 1])).max() < 5
    assert np.array_equal(net.predict(rows.astype(np.float32)), net.predict(rows.astype(np.float32).astype(float)))
    with pytest.raises(fw.errors.ConfigError, match="no probabilities"):
        net.predict_proba(rows)
    with pytest.raises(fw.errors.ArgumentError, match="rows of 2 numbers"):
        net.predict(rows[:1, :1])


def test_whole_numbers_are_classes_as_numbers(tmp_path):
    run = fw.train("digits", hidden=[32], sparsity=0.5, steps=5, out=tmp_path / "d", progress=False)
    net = run.load()
    assert net.classes.dtype.kind == "i" and list(net.classes) == list(range(10))
    assert net.predict(np.zeros((3, 64), np.uint8)).shape == (3,)


def test_refusals_have_the_texts_of_the_program(table, tmp_path):
    data = f"csv:{table}"
    for options, text, kind in [
        ({"sparsity": 1.5}, "sparsity: 1.5 is not in \\[0, 1\\)", fw.errors.ConfigError),
        ({"method": "rigel"}, "invalid value 'rigel' for '--method <NAME>'", fw.errors.ConfigError),
        ({"update_every": 5}, "--update-every has no effect: it needs a --method", fw.errors.ConfigError),
        ({"epochs": 1, "steps": 1}, "cannot be used with", fw.errors.ConfigError),
        ({"label": "weight"}, "weight", fw.errors.ConfigError),
        ({"adapter": "no such device"}, 'no adapter is called "no such device"', fw.errors.DeviceError),
    ]:
        with pytest.raises(kind, match=text) as caught:
            fw.train(data, progress=False, **options)
        assert isinstance(caught.value, fw.Error) and "--help" not in str(caught.value), options
    with pytest.raises(fw.errors.FileError, match="none.csv"):
        fw.train(f"csv:{tmp_path}/none.csv", progress=False)
    with pytest.raises(fw.Error, match="nothing"):
        fw.load(tmp_path / "nothing")


def test_parts_learn_by_themselves_and_networks_together(tmp_path):
    small = {"hidden": [32, 32], "sparsity": 0.5, "steps": 100, "progress": False}
    run = fw.train("digits", local="greedy", out=tmp_path / "local", **small)
    assert fw.load(run.folder).settings["model"]["local"] == "greedy" and run.test_accuracy > 0.5
    with pytest.raises(fw.errors.ConfigError, match="chunked:3 has more parts than the network has hidden layers, 2"):
        fw.train("digits", local="chunked:3", **small)
    several = fw.train("digits", ensemble=2, rows_seed=4, **small)
    assert len(several.summary["networks"]["test"]) == 2
    fw.train("digits", codistill=2, weight=0.5, burn_in=10, exchange_every=5, disjoint=True, **small)
    with pytest.raises(fw.errors.ConfigError, match="--weight has no effect"):
        fw.train("digits", weight=0.5, **small)


def test_tasks_follow_each_other(tmp_path):
    small = {"hidden": 64, "tasks": 5, "epochs": 5, "progress": False}
    [alone, kept] = [fw.train("digits", buffer=rows, **small).summary["tasks"]["accuracy"] for rows in [0, 500]]
    assert len(alone) == 5 and alone[0] < 0.1 < 0.4 < kept[0]
    with pytest.raises(fw.errors.ConfigError, match="11 tasks of 10 classes leave one empty"):
        fw.train("digits", tasks=11, epochs=11, progress=False)


def test_events_reach_a_function_and_its_exception_stops_the_run(table, tmp_path):
    events = []
    fw.train(f"csv:{table}", **SMALL | {"progress": events.append})
    kinds = {event["event"] for event in events}
    assert {"notice", "progress", "epoch"} <= kinds
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == list(range(20))

    def fail(event):
        if event["event"] == "epoch":
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fw.train(f"csv:{table}", out=tmp_path / "stopped", **SMALL | {"progress": fail})
    assert (tmp_path / "stopped/checkpoint.safetensors").exists()


def test_progress_is_a_line_an_epoch_without_a_terminal(table, capsys):
    fw.train(f"csv:{table}", **SMALL | {"progress": True})
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert len(lines) == 20 and "train loss" in lines[0] and "test loss" in lines[0]


def test_a_stopped_run_goes_on_to_the_same_bits(run, table, tmp_path):
    part = fw.train(f"csv:{table}", out=tmp_path / "c", stop_after=7, **SMALL)
    assert not part.finished and part.steps == 7
    whole = fw.train(resume=tmp_path / "c", progress=False)
    assert whole.finished and whole.folder == tmp_path / "c"
    assert (tmp_path / "c/checkpoint.safetensors").read_bytes() == (Path(run.folder) / "checkpoint.safetensors").read_bytes()


def test_an_interrupt_stops_a_run_and_leaves_a_checkpoint(tmp_path):
    code = f"""
import fretwork, signal
# A shell may have told its background jobs to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
def tell(event):
    if event["event"] == "epoch":
        print("epoch", flush=True)
try:
    fretwork.train("digits", hidden=[64], sparsity=0.5, epochs=100000, out={str(tmp_path / "i")!r}, progress=tell)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "epoch\n"
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert rest.endswith("interrupted\n") and process.returncode == 0
    net = fw.load(tmp_path / "i")
    resumed = fw.train(resume=tmp_path / "i", stop_after=1, progress=False)
    assert resumed.steps == net._inner.steps + 1


def test_other_threads_run_meanwhile():
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    fw.train("digits", hidden=[256], sparsity=0.5, epochs=3, progress=False)
    ended = time.perf_counter()
    done.set()
    thread.join()
    inside = [tick for tick in ticks if began < tick < ended]
    assert np.diff([began, *inside, ended]).max() < 0.5 * (ended - began)


def test_networks_of_several_threads(run, table):
    net = fw.load(run.folder)
    wanted, found = net.predict_proba(table), [None] * 4
    threads = [threading.Thread(target=lambda at=at: found.__setitem__(at, net.predict_proba(table))) for at in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(np.array_equal(wanted, one) for one in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: no fork on this system")
def test_use_in_a_forked_child_is_refused_and_forking_is_harmless(run, table):
    code = f"""
import os, gc, fretwork as fw, numpy as np
net = fw.load({str(run.folder)!r})
wanted = net.predict({str(table)!r})
child = os.fork()
if child == 0:
    try:
        net.predict({str(table)!r})
    except fw.errors.ForkError as error:
        assert "spawn" in str(error), error
        try:
            fw.ops.dense(np.ones((2, 2)), np.ones((2, 2)))
        except fw.errors.ForkError:
            # Objects of the parent are freed without waiting for its device.
            del net
            gc.collect()
            os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert (net.predict({str(table)!r}) == wanted).all()
print("whole")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "whole\n", done.stderr


def test_doctor_and_adapters():
    assert fw.adapters()[0]["name"]
    found = fw.doctor(quick=True, only="fretwork.optimizer")
    assert found and found.checks > 0 and found.wrong == [] and "right" in repr(found)
    with pytest.raises(fw.errors.ConfigError, match="no kernel's name contains"):
        fw.doctor(only="no such kernel")
