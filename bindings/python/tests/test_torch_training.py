"""Training in PyTorch with sparse layers: against masked dense ones, with topologies that change, and in several processes."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="SKIPPED: no PyTorch")
from torch import nn  # noqa: E402

import fretwork as fw  # noqa: E402
from fretwork.torch import Sequential, SparseLinear  # noqa: E402


def digits():
    from importlib.util import find_spec

    if find_spec("sklearn"):
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    # A problem as large: ten directions.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1600, 64, generator=generator)
    return x, (x @ torch.randn(64, 10, generator=generator)).argmax(1)


def loop(model, optimizer, x, y, epochs, sparse=None):
    losses = []
    for epoch in range(epochs):
        for rows in torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).split(100):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            if sparse is None or sparse.step():
                optimizer.step()
            losses.append(loss.item())
    return losses


class Masked(nn.Module):
    """The dense layer with the pattern of a sparse one."""

    def __init__(self, layer):
        super().__init__()
        self.weight = nn.Parameter(layer.to_dense().detach().clone())
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.register_buffer("mask", layer.mask().float())

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_a_training_is_that_of_masked_dense_layers(optimizer):
    x, y = digits()
    torch.manual_seed(4)
    first = SparseLinear(64, 128, block=16, density=0.3)
    ours = nn.Sequential(first, nn.ReLU(), SparseLinear(128, 128, block=16, density=0.3), nn.ReLU(), nn.Linear(128, 10))
    theirs = nn.Sequential(*[Masked(module) if isinstance(module, SparseLinear) else copy.deepcopy(module) for module in ours])
    rate = 0.1 if optimizer is torch.optim.SGD else 0.003
    losses = [loop(model, optimizer(model.parameters(), lr=rate), x, y, 3) for model in (ours, theirs)]
    assert np.abs(np.subtract(*losses)).max() < 0.02 and losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("method", ["rigl", "set", "static"])
def test_sparsify_moves_blocks(method):
    x, y = digits()
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    epochs = 6
    steps = epochs * len(x[::100])
    sparse = fw.torch.sparsify(model, density=0.2, method=method, optimizer=optimizer, steps=steps, every=10)
    assert sparse.dense == ["4"] and isinstance(model[0], SparseLinear) and isinstance(model[4], nn.Linear)
    blocks = [layer.nnz for layer in (model[0], model[2])]
    assert sum(blocks) == round(0.2 * (32 + 64) + 0.49)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}
    before = model[2].mask().clone()
    losses = loop(model, optimizer, x, y, epochs, sparse)
    moved = bool((before != model[2].mask()).any())
    assert moved == (method != "static") and losses[-1] < 0.7 * losses[0]
    assert [layer.nnz for layer in (model[0], model[2])] == blocks
    assert sparse.state_dict() == {"step_count": steps}


def test_an_update_is_rigls():
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(64, 64, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sparse = fw.torch.sparsify(model, density=0.5, method="rigl", optimizer=optimizer, steps=100, every=1, block=16)
    layer = model[0]
    x, dy = torch.randn(10, 64), torch.randn(10, 64)

    def step():
        optimizer.zero_grad()
        layer(x).backward(dy)
        if sparse.step():
            optimizer.step()
            return True
        return False

    assert step()
    old_mask, old, state = layer.mask().clone(), layer.to_dense().detach().clone(), layer.values.detach().clone()
    moments = optimizer.state[layer.values]["exp_avg"]
    old_moments = layer._dense(moments.clone())
    tiles = lambda of: of.reshape(4, 16, 4, 16).abs().sum((1, 3)).flatten()  # noqa: E731
    stored = tiles(old_mask.float()) > 0
    magnitude, gradient = tiles(old), tiles(dy.T @ x)
    assert not step()
    count = int(0.3 * 0.5 * (1 + np.cos(np.pi * 1 / 75)) * 8)
    dropped = magnitude.masked_fill(~stored, np.inf).topk(count, largest=False).indices
    kept = stored.clone()
    kept[dropped] = False
    grown = gradient.masked_fill(kept, -np.inf).topk(count).indices
    wanted = kept.clone()
    wanted[grown] = True
    assert torch.equal(tiles(layer.mask().float()) > 0, wanted)
    # Kept blocks have their values and state; new ones begin with zeros.
    new = layer.to_dense().detach()
    survivors = (kept | (wanted & stored)).reshape(4, 1, 4, 1).expand(4, 16, 4, 16).reshape(64, 64)
    assert torch.equal(new, old * survivors) and torch.equal(layer._dense(moments), old_moments * survivors)
    assert sparse.exchanged == int((wanted & ~stored).sum()) > 0 and state.shape == layer.values.shape
    # The next pass is that of the new pattern.
    assert torch.allclose(layer(x), x @ layer.to_dense().T, atol=1e-5)


@pytest.mark.parametrize("container", [nn.Sequential, Sequential])
def test_magnitude_prunes_along_a_cubic(container):
    x, y = digits()
    torch.manual_seed(8)
    model = container(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    dense = model[2].weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    steps = 6 * len(x[::100])
    sparse = fw.torch.sparsify(model, density=0.2, method="magnitude", optimizer=optimizer, steps=steps, every=10)
    assert torch.equal(model[2].to_dense(), dense) and model[0].nnz == 32
    counts = [model[2].nnz]
    for at, _ in enumerate(range(steps)):
        rows = torch.arange(at * 100, at * 100 + 100) % len(x)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        old, grad = model[2].to_dense().detach(), model[2]._dense(model[2].values.grad)
        moments = optimizer.state[model[2].values].get("exp_avg")
        old_moments = None if moments is None else model[2]._dense(moments)
        first = loss.item() if at == 0 else first
        assert sparse.step()
        if model[2].nnz < counts[-1]:
            tiles = lambda of: of.reshape(8, 16, 8, 16).abs().sum((1, 3))  # noqa: E731
            kept, sums = tiles(model[2].mask().float()) > 0, tiles(old)
            stored = sums > 0
            # The smallest are gone; the others, their gradients and moments are as before.
            assert sums[kept].min() >= sums[stored & ~kept].max() and sparse.exchanged > 0
            assert torch.equal(model[2].to_dense(), old * model[2].mask())
            assert torch.equal(model[2].values.grad, model[2].blocks_of(grad))
            assert torch.equal(optimizer.state[model[2].values]["exp_avg"], model[2].blocks_of(old_moments))
        optimizer.step()
        counts.append(model[2].nnz)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()} and loss.item() < 0.7 * first
    assert len(optimizer.state) == len(held)
    # Zhu and Gupta's schedule: updates at 10, 20, ... below three quarters of the steps.
    updates, target = len([step for step in range(10, steps, 10) if step < 0.75 * steps]), counts[-1]
    for update in range(updates):
        wanted = target + int((64 - target) * (1 - (update + 1) / updates) ** 3 + 0.5)
        assert counts[10 * (update + 1) + 1] == wanted
    assert model[0].nnz + target == round(0.2 * 96 + 0.49)
    assert torch.allclose(model[2](x[:5].repeat(1, 2)), x[:5].repeat(1, 2) @ model[2].to_dense().T + model[2].bias, atol=1e-4)


def test_pruning_goes_on_from_its_state():
    def begin():
        torch.manual_seed(9)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, fw.torch.sparsify(model, density=0.3, method="magnitude", optimizer=optimizer, steps=20, every=4)

    def train(model, optimizer, sparse, steps):
        for step in steps:
            torch.manual_seed(step)
            optimizer.zero_grad()
            model(torch.randn(8, 64)).square().sum().backward()
            assert sparse.step()
            optimizer.step()

    whole = begin()
    train(*whole, range(20))
    half = begin()
    train(*half, range(9))
    assert half[0][0].nnz < 16
    states = [part.state_dict() for part in half]
    model, optimizer, sparse = begin()
    sparse.load_state_dict(states[2])
    model.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    train(model, optimizer, sparse, range(9, 20))
    assert model[0].nnz == round(0.3 * 16) and torch.equal(model[0].to_dense(), whole[0][0].to_dense())
    with pytest.raises(fw.errors.ArgumentError, match="state: has 16 blocks for a layer that has 5 left"):
        sparse.load_state_dict({"step_count": 0, "blocks": [16]})
    # A training too short for an update is pruned in its last step.
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sparse = fw.torch.sparsify(model, density=0.3, method="magnitude", optimizer=optimizer, steps=2)
    for _ in range(2):
        model(torch.randn(8, 64)).sum().backward()
        sparse.step()
    assert model[0].nnz == 5


def test_sparsify_within_a_network_of_ours():
    x, y = digits()
    torch.manual_seed(7)
    model = Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    sparse = fw.torch.sparsify(model, density=0.3, method="rigl", optimizer=optimizer, steps=60, every=10)
    before = [model[0].mask().clone(), model[2].mask().clone()]
    losses = loop(model, optimizer, x, y, 3, sparse)
    assert losses[-1] < losses[0] and all((old != layer.mask()).any() for old, layer in zip(before, (model[0], model[2])))
    layers = nn.Sequential(*copy.deepcopy(list(model)))
    assert torch.allclose(model(x[:50]), layers(x[:50]), atol=1e-4)


def test_what_sparsify_refuses():
    def model():
        return nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 10))

    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=1)
    for options, text in [
        ({"method": "magnitude"}, "steps: should be"),
        ({"method": "magnitude", "steps": 10, "fraction": 0.1}, "fraction: has no effect with magnitude"),
        ({"method": "magnitude", "steps": 10, "keep": "magnitude"}, "keep: has no effect with magnitude"),
        ({"method": "magnitude", "steps": 10}, "optimizer: should be that of the model"),
        ({"method": "magnitude", "steps": 10, "optimizer": other, "until": 2.0}, "update-until"),
        ({"method": "magnitude", "steps": 10, "optimizer": other, "every": 0}, "update-every: 0 steps"),
        ({"steps": 10, "method": "top-kast"}, "top-kast keeps state over a whole run"),
        ({"steps": 10, "method": "no"}, "is none of static"),
        ({"steps": 10, "skip": ["7"]}, "skip: \\['7'\\] are no linear layers"),
        ({"steps": 10, "skip": ["0"]}, "has no linear layer with sides that are multiples of 16"),
        ({"steps": 10, "optimizer": other}, "optimizer: has 0 of the 1 weights"),
        ({"steps": 10, "init": "even"}, "none of uniform, er, erk"),
        ({"steps": 10, "density": 0}, "sparsity: 1 is not in"),
        ({"steps": 10, "every": 0}, "update-every: 0 steps"),
        ({"steps": 10, "every": -1}, "every: should be a whole number of at least 0"),
        ({"steps": -10}, "steps: should be a whole number of at least 0"),
        ({"steps": 10, "block": 0}, "block: should be a whole number of at least 1"),
        ({"steps": 10, "block": -16}, "block: should be a whole number of at least 1"),
    ]:
        with pytest.raises(fw.Error, match=text):
            fw.torch.sparsify(model(), **options)
    sparse = fw.torch.sparsify(model(), density=0.5, steps=10, every=1)
    assert sparse.step()
    with pytest.raises(fw.errors.ArgumentError, match="should follow a backward pass"):
        sparse.step()


def test_workers_of_a_loader_may_fork():
    layer = SparseLinear(32, 16, block=16, density=1)
    data = torch.utils.data.TensorDataset(torch.randn(64, 32))
    layer(torch.randn(2, 32))
    loader = torch.utils.data.DataLoader(data, batch_size=16, num_workers=2)
    assert sum(len(layer(x)) for _ in range(2) for [x] in loader) == 128


def test_data_parallel_over_gloo(tmp_path):
    import subprocess
    import sys

    code = """
import sys, torch, fretwork as fw
from torch import nn, distributed
from torch.nn.parallel import DistributedDataParallel
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(1)
model = nn.Sequential(fw.torch.SparseLinear(32, 32, block=16, density=0.5), nn.ReLU(), nn.Linear(32, 4))
whole = torch.randn(8, 32)
parallel = DistributedDataParallel(model)
parallel(whole[rank::2]).square().mean().backward()
found = [parameter.grad.clone() for parameter in model.parameters()]
model.zero_grad()
model(whole).square().mean().backward()
assert all(torch.allclose(a, p.grad, atol=1e-6) for a, p in zip(found, model.parameters()))
print("same")
"""
    run = lambda rank: subprocess.Popen([sys.executable, "-c", code, str(rank), str(tmp_path / "rendezvous")], stdout=subprocess.PIPE)  # noqa: E731
    processes = [run(0), run(1)]
    assert [process.communicate(timeout=240)[0] for process in processes] == [b"same\n"] * 2
