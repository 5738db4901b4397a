"""Weights between PyTorch, runs and exports."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="SKIPPED: no PyTorch")
pytest.importorskip("safetensors", reason="SKIPPED: no safetensors")
from torch import nn  # noqa: E402

import fretwork as fw  # noqa: E402
from fretwork.torch import MoE, Sequential, SparseLinear, load_file, save_file  # noqa: E402

SMALL = {"hidden": [64, 64], "sparsity": 0.5, "epochs": 2, "progress": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fw.train("digits", out=tmp_path_factory.mktemp("runs") / "a", **SMALL)


def logits(weights, x):
    """The perceptron of a file's weights, by torch's own products."""
    for number in range(3):
        weight = weights[f"layers.{number}.weight"]
        weight = weight.to_dense() if weight.layout == torch.sparse_bsr else weight
        x = nn.functional.linear(x, weight, weights[f"layers.{number}.bias"])
        x = x.relu() if number < 2 else x
    return x


def test_exports_and_checkpoints_are_read(run):
    x = torch.rand(20, 64)
    shares = torch.from_numpy(run.load().predict_proba((16 * x).numpy()))
    dense, bsr = (run.export(to) for to in ("safetensors-dense", "safetensors-bsr"))
    files = [dense, bsr, f"{run.folder}/checkpoint.safetensors"]
    of_dense, of_bsr, of_checkpoint = (load_file(file) for file in files)
    assert of_bsr["layers.1.weight"].layout == torch.sparse_bsr and of_dense["layers.1.weight"].shape == (64, 64)
    assert set(of_checkpoint) == set(of_bsr) == set(of_dense)
    for weights in (of_dense, of_bsr, of_checkpoint):
        assert torch.allclose(logits(weights, x).softmax(-1).double(), shares, atol=1e-5)
    layer = SparseLinear.from_sparse_bsr(of_bsr["layers.1.weight"], of_bsr["layers.1.bias"])
    assert torch.equal(layer.to_dense(), of_dense["layers.1.weight"])
    assert run.export("onnx").endswith("model.onnx")
    with pytest.raises(fw.errors.ConfigError, match="is none of onnx"):
        run.export("pickle")


def test_a_run_goes_to_torch_and_back(run, tmp_path):
    """A network of a run, trained further in PyTorch, from which a run starts."""
    model = fw.torch.of_net(run.load())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.rand(20, 64)
    model(x).square().mean().backward()
    optimizer.step()
    save_file(model, tmp_path / "start.safetensors", names="layers")
    assert torch.allclose(logits(load_file(tmp_path / "start.safetensors"), x), model(x), atol=1e-5)
    # A rate of 0 keeps the weights, so the run has the model's function.
    again = fw.train("digits", init_from=tmp_path / "start.safetensors", out=tmp_path / "b", **SMALL | {"epochs": 1, "lr": 1e-12})
    shares = again.load().predict_proba((16 * x).numpy())
    assert np.allclose(model(x).softmax(-1).detach(), shares, atol=1e-4)


def test_features_that_are_padded_go_back_without_padding(numbers, tmp_path):
    options = {"task": "regression", "hidden": [64], "sparsity": 0.5, "keep_dense": ["none"], "progress": False}
    run = fw.train(f"csv:{numbers}", epochs=1, out=tmp_path / "a", **options)
    model = fw.torch.of_net(run.load())
    assert isinstance(model[0], nn.ConstantPad1d) and isinstance(model[1][0], SparseLinear)
    save_file(model, tmp_path / "start.safetensors", names="layers")
    again = fw.train(f"csv:{numbers}", init_from=tmp_path / "start.safetensors", epochs=1, lr=1e-12, out=tmp_path / "b", **options)
    rows = np.array([[0.3, -1.0], [1.0, 2.0]])
    assert np.allclose(again.load().predict(rows), run.load().predict(rows), rtol=1e-4)


def test_inactive_blocks_are_no_part_of_a_network(tmp_path):
    """Top-KAST stores twice as many blocks as it uses."""
    run = fw.train("digits", method="top-kast", out=tmp_path / "k", **SMALL | {"sparsity": 0.7})
    net, x = run.load(), torch.rand(20, 64)
    shares = torch.from_numpy(net.predict_proba((16 * x).numpy()))
    assert torch.allclose(fw.torch.of_net(net)(x).softmax(-1).double(), shares, atol=1e-5)
    weights = load_file(tmp_path / "k/checkpoint.safetensors")
    assert torch.allclose(logits(weights, x).softmax(-1).double(), shares, atol=1e-5)


def test_modules_of_all_kinds(tmp_path):
    torch.manual_seed(0)
    model = nn.ModuleDict({
        "one": Sequential(SparseLinear(32, 64, block=16, density=0.5), nn.ReLU(), MoE(64, experts=4, density=0.5), MoE(64, experts=2)),
        "norm": nn.BatchNorm1d(8),
        "tied": nn.Linear(8, 8),
    })  # fmt: skip
    model["tied"].bias = model["norm"].bias
    save_file(model, tmp_path / "all.safetensors")
    found = load_file(tmp_path / "all.safetensors")
    layer, sparse, dense, _ = model["one"][0], model["one"][2], model["one"][3], None
    assert torch.equal(found["one.0.weight"].to_dense(), layer.to_dense()) and torch.equal(found["one.0.bias"], layer.bias)
    for part in ("up", "down"):
        assert torch.equal(found[f"one.2.experts.{part}.weight"].to_dense(), sparse.to_dense(part))
        assert torch.equal(found[f"one.3.experts.{part}.weight"], dense.to_dense(part))
    assert torch.equal(found["one.2.router.weight"], sparse.router)
    assert torch.equal(found["norm.running_var"], model["norm"].running_var) and torch.equal(found["tied.bias"], found["norm.bias"])
    # Tensors by name.
    save_file({"w": layer.to_sparse_bsr(), "b": layer.bias}, tmp_path / "two.safetensors")
    assert torch.equal(load_file(tmp_path / "two.safetensors")["w"].to_dense(), layer.to_dense())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_refusals(tmp_path):
    with pytest.raises(fw.errors.FileError, match="none.safetensors"):
        load_file(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(fw.errors.DataError, match="is no whole safetensors file"):
        load_file(tmp_path / "bad.safetensors")
    save_file({"w.crow_indices": torch.zeros(2, dtype=torch.int32)}, tmp_path / "part.safetensors")
    with pytest.raises(fw.errors.DataError, match="has no w.col_indices, which a block-sparse weight needs"):
        load_file(tmp_path / "part.safetensors")
    parts = {"crow_indices": torch.tensor([0, 1]), "col_indices": torch.tensor([0]), "values": torch.zeros(1, 8, 8)}
    save_file({f"w.{part}": of for part, of in (parts | {"col_indices": torch.tensor([7]), "shape": torch.tensor([8, 8])}).items()}, tmp_path / "w.safetensors")
    with pytest.raises(fw.errors.DataError, match="w.safetensors: w:"):
        load_file(tmp_path / "w.safetensors")
    with pytest.raises(fw.errors.ArgumentError, match="names: should be modules or layers"):
        save_file(nn.Linear(2, 2), tmp_path / "x", names="fretwork")
    with pytest.raises(fw.errors.ArgumentError, match="1 \\(MoE\\) is no linear layer"):
        save_file(nn.Sequential(nn.Linear(16, 16), MoE(16)), tmp_path / "x", names="layers")
    with pytest.raises(fw.errors.ArgumentError, match="has none"):
        save_file(nn.ReLU(), tmp_path / "x", names="layers")
    with pytest.raises(fw.errors.FileError):
        save_file(nn.Linear(2, 2), tmp_path / "no/such/folder")
