"""What a user gets, line by line: each line runs in the environment that has its packages."""

import importlib.util

import numpy as np
import pytest

import fretwork as fw

LINES = """
clf = fw.SparseMLPClassifier(hidden=(1024, 1024), sparsity=0.9, method="rigl", epochs=5)
clf.fit(X, y); clf.predict_proba(X_test); clf.score(X_test, y_test)
run = fw.train("csv:table.csv", hidden=[256, 256], sparsity=0.9, out="runs/a")
net = fw.load("runs/a"); net.predict(X)
layer = fw.torch.SparseLinear(1024, 4096, block=16, density=0.1)
moe = fw.torch.MoE(512, experts=8, top_k=2)
sparse = fw.torch.sparsify(model, density=0.1, method="rigl", optimizer=opt)
ops = fw.ops
fw.doctor(); fw.bench("sparse")
""".strip().splitlines()


def package(line):
    """The package that a line needs."""
    return "sklearn" if "clf" in line else "torch" if "fw.torch" in line else None


def has(name):
    return importlib.util.find_spec(name) is not None


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Variables of the lines: a table of four numbers and a label of three names, in memory and as a file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(8)
    x = rng.normal(size=(600, 4))
    y = np.array(["ash", "elm", "oak"])[(x @ rng.normal(size=(4, 3))).argmax(1)]
    lines = ["a,b,c,d,kind", *(",".join(map(str, row)) + f",{kind}" for row, kind in zip(x.tolist(), y))]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return {"fw": fw, "X": x[:500], "y": y[:500], "X_test": x[500:], "y_test": y[500:]}


def test_lines_of_the_library(names, capsys):
    # The environment of PyTorch is for the lines that need it.
    if has("torch"):
        pytest.skip("run in the environment without PyTorch")
    for line in LINES:
        if package(line) is None or (package(line) == "sklearn" and has("sklearn")):
            exec(line, names)
    assert names["run"].test_accuracy > 0.8
    assert (names["net"].predict(names["X"]) == names["y"]).mean() > 0.8
    assert names["clf"].score(names["X_test"], names["y_test"]) > 0.8
    out = capsys.readouterr().out
    assert "| what | median ms |" in out and "overtakes dense at" in out


def test_lines_of_torch(names):
    torch = pytest.importorskip("torch", reason="run in the environment with PyTorch")
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 3))
    names |= {"model": model, "opt": torch.optim.AdamW(model.parameters())}
    for line in LINES:
        if package(line) == "torch":
            exec(line, names)
    assert names["layer"](torch.randn(2, 1024)).shape == (2, 4096)
    assert names["moe"](torch.randn(2, 512)).shape == (2, 512)
    # Updates without a number of steps go on for ever; the first is due after 100 steps.
    for _ in range(102):
        names["opt"].zero_grad()
        model(torch.randn(4, 64)).square().mean().backward()
        if names["sparse"].step():
            names["opt"].step()
    assert names["sparse"].exchanged > 0
