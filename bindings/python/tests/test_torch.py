"""Modules of PyTorch, against its dense autograd in float64."""

import copy
import io

import pytest

torch = pytest.importorskip("torch", reason="SKIPPED: no PyTorch")
from torch import nn  # noqa: E402

import fretwork as fw  # noqa: E402
from fretwork.torch import MoE, Sequential, SparseLinear  # noqa: E402

#: Random cases of one layer, as many as the figure in the README says.
CASES = 200


def has_half():
    return fw.adapters()[0]["f16"]


def close(found, wanted, scale, eps):
    """Whether errors are below `eps` in units of `scale`, sums of magnitudes."""
    return bool((found.double() - wanted).abs().le(eps * scale + 1e-30).all())


def case(number):
    """A layer of random sides, block, density and bias, an input of up to three dimensions, and a gradient."""
    generator = torch.Generator().manual_seed(number)
    pick = lambda options: options[int(torch.randint(len(options), (), generator=generator))]  # noqa: E731
    block = pick([8, 16, 32, 64, 128])
    inputs, outputs = block * pick([1, 2, 3]), block * pick([1, 2, 3])
    torch.manual_seed(number)
    layer = SparseLinear(inputs, outputs, pick([True, False]), block=block, density=pick([0.1, 0.4, 1.0]), f16=pick([False, False, True]) and has_half())
    lead = pick([(), (1,), (7,), (32,), (3, 5)])
    x = torch.randn(*lead, inputs, generator=generator)
    dy = torch.randn(*lead, outputs, generator=generator)
    return layer, x, dy


@pytest.mark.parametrize("number", range(CASES))
def test_a_layer_and_its_gradients_are_those_of_a_masked_dense_one(number):
    layer, x, dy = case(number)
    x.requires_grad_()
    y = layer(x)
    y.backward(dy)

    weight = layer.to_dense().detach().double().requires_grad_()
    bias = None if layer.bias is None else layer.bias.detach().double().requires_grad_()
    x64 = x.detach().double().requires_grad_()
    wanted = nn.functional.linear(x64, weight, bias)
    wanted.backward(dy.double())
    # Rounding of operands, and of float32 sums of at most 384 terms.
    eps = 2e-3 if layer.f16 else 5e-6
    flat = lambda of: of.detach().double().abs().reshape(-1, of.shape[-1])  # noqa: E731
    of_y = flat(x64) @ weight.detach().abs().T + (0 if bias is None else bias.detach().abs())
    assert y.shape == wanted.shape and close(y, wanted, of_y.reshape(wanted.shape), eps)
    of_x = flat(dy) @ weight.detach().abs()
    assert close(x.grad, x64.grad, of_x.reshape(x.shape), eps)
    of_w = flat(dy).T @ flat(x64)
    assert close(layer.values.grad, layer.blocks_of(weight.grad), layer.blocks_of(of_w), eps)
    if bias is not None:
        assert close(layer.bias.grad, bias.grad, flat(dy).sum(0), eps)
    # The oracle objects to a block of another place.
    if layer.nnz > 1:
        assert not close(layer.values.grad.roll(1, 0), layer.blocks_of(weight.grad), layer.blocks_of(of_w), eps)


def test_a_module_is_one_like_others():
    layer = SparseLinear(64, 128, block=16, density=0.25)
    assert [name for name, _ in layer.named_parameters()] == ["values", "bias"]
    assert sorted(layer.state_dict()) == ["bias", "col_indices", "crow_indices", "values"]
    assert layer.values.shape == (8, 16, 16) and layer.density == 0.25 and "density=0.25" in repr(layer)
    x = torch.randn(5, 64)
    wanted = layer(x)
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(x), wanted)
    with torch.no_grad():
        twin.values.zero_()
    assert not torch.equal(twin(x), wanted) and torch.equal(layer(x), wanted)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    options = {"weights_only": False} if "weights_only" in torch.load.__code__.co_varnames else {}
    assert torch.equal(torch.load(file, **options)(x), wanted)
    # Another pattern of as many blocks.
    other = SparseLinear(64, 128, block=16, density=0.25)
    other(x)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), wanted)
    with pytest.raises(RuntimeError, match="size mismatch for values"):
        SparseLinear(64, 128, block=16, density=0.5).load_state_dict(layer.state_dict())


def test_values_may_change_in_any_way():
    layer = SparseLinear(32, 32, bias=False, block=16, density=1)
    x = torch.eye(32)
    for change in [
        lambda: layer.values.data.mul_(2),
        lambda: setattr(layer.values, "data", torch.ones(4, 16, 16)),
        lambda: nn.utils.clip_grad_norm_(layer.parameters(), 1.0),
    ]:
        change()
        assert torch.equal(layer(x), layer.to_dense().T)


def test_passes_interleave():
    """Backward passes in another order than the forward ones, over batches of one size and of several, and twice over one graph."""
    torch.manual_seed(1)
    layer = SparseLinear(32, 48, block=16, density=0.5)
    inputs = [torch.randn(rows, 32, requires_grad=True) for rows in (4, 4, 9, 1, 2, 3, 5, 4)]
    outputs = [layer(x) for x in inputs]
    dense = [nn.functional.linear(x, layer.to_dense(), layer.bias) for x in inputs]
    for y, wanted, x in reversed(list(zip(outputs, dense, inputs))):
        dy = torch.randn_like(y)
        [found] = torch.autograd.grad(y, x, dy, retain_graph=True)
        assert torch.allclose(found, torch.autograd.grad(wanted, x, dy, retain_graph=True)[0], atol=1e-5)
        parameters = (layer.values, layer.bias)
        for found, wanted_grad in zip(torch.autograd.grad(y, parameters, dy), torch.autograd.grad(wanted, parameters, dy)):
            assert torch.allclose(found, wanted_grad, atol=1e-4)


def test_values_that_changed_before_the_backward_pass_are_refused():
    layer = SparseLinear(32, 32, block=16, density=1)
    y = layer(torch.randn(2, 32))
    with torch.no_grad():
        layer.values.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_no_rows_and_no_gradient():
    layer = SparseLinear(32, 48, block=16, density=0.5)
    x = torch.zeros(0, 32, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (0, 48) and x.grad.shape == (0, 32) and (layer.values.grad == 0).all()
    with torch.no_grad():
        assert not layer(torch.zeros(2, 32)).requires_grad
    layer.values.requires_grad_(False)
    layer.zero_grad()
    layer(torch.ones(2, 32)).sum().backward()
    assert (layer.bias.grad == 2).all()


def test_second_derivatives_are_refused():
    layer = SparseLinear(16, 16, block=16, density=1)
    x = torch.randn(2, 16, requires_grad=True)
    [dx] = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()


def test_refusals():
    layer = SparseLinear(32, 32, block=16, density=1)
    for x, text in [
        (torch.zeros(2, 32, dtype=torch.float64), "input: should be of float32 on the CPU, but is of torch.float64"),
        (torch.zeros(2, 32, device="meta"), "on meta"),
        (torch.zeros(2, 31), "should be"),
    ]:
        with pytest.raises(fw.errors.ArgumentError, match=text):
            layer(x)
    for options, text in [
        ({"in_features": 30}, "in_features: should be a multiple of the block, 16, but is 30"),
        ({"density": 0}, "density: should be above 0"),
        ({"block": 12, "in_features": 24, "out_features": 24}, "block should be one of"),
    ]:
        with pytest.raises(fw.Error, match=text):
            SparseLinear(**{"in_features": 32, "out_features": 32, "block": 16, "density": 0.5} | options)
    with pytest.raises(fw.errors.ArgumentError, match="width: should be a multiple of the block, 0, but is 32"):
        MoE(32, block=0)
    with pytest.raises(fw.errors.ArgumentError, match="values: should be of float32|weight: should be of float32"):
        SparseLinear(32, 32).double()(torch.zeros(2, 32))


def test_conversions():
    torch.manual_seed(2)
    linear = nn.Linear(48, 64)
    x = torch.randn(3, 48)
    full = SparseLinear.from_linear(linear, density=1)
    assert torch.allclose(full(x), linear(x), atol=1e-5) and torch.equal(full.to_linear().weight, linear.weight)
    half = SparseLinear.from_linear(linear, density=0.5, keep="magnitude")
    sums = linear.weight.abs().reshape(4, 16, 3, 16).sum((1, 3))
    kept = half.mask().reshape(4, 16, 3, 16).all(3).all(1)
    assert half.nnz == 6 and sums[kept].min() > sums[~kept].max()
    assert torch.equal(half.to_dense(), linear.weight * half.mask())
    again = SparseLinear.from_linear(half.to_linear(), density=None)
    assert torch.equal(again.values, half.values) and torch.equal(again.col_indices, half.col_indices)
    bsr = half.to_sparse_bsr()
    assert torch.equal(bsr.to_dense(), half.to_dense())
    back = SparseLinear.from_sparse_bsr(bsr, half.bias)
    assert torch.equal(back(x), half(x)) and torch.equal(back.crow_indices, half.crow_indices)
    without = SparseLinear.from_linear(nn.Linear(48, 64, bias=False), density=0.5)
    assert without.bias is None and without.to_linear().bias is None


@pytest.mark.skipif(not hasattr(torch, "compile"), reason="torch.compile needs PyTorch 2")
def test_compiled_models_break_their_graph_at_a_layer_and_say_so_once():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(32, 64), SparseLinear(64, 64, block=16, density=0.5)
            self.third, self.last = Sequential(nn.Linear(64, 32), nn.ReLU(), MoE(32, experts=4, aux=0.1)), nn.Linear(32, 10)

        def forward(self, x):
            return self.last(self.third(self.second(self.first(x).relu()).relu()).tanh())

    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(4)
    model, x = Model(), torch.randn(8, 32)
    compiled = torch.compile(model, backend=backend)
    grads = []
    with pytest.warns(UserWarning, match="run outside of the compiled graphs") as caught:
        for net in (compiled, compiled, model):
            model.zero_grad()
            y = net(x)
            (y.square().sum() + model.third[2].balance_loss).backward()
            grads.append([parameter.grad.clone() for parameter in model.parameters()])
            assert torch.allclose(y, model(x), atol=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for of in grads for a, b in zip(of, grads[-1]))
    # One graph before each layer of ours, and one behind the last.
    assert len(graphs) == 3
    assert sum("run outside of the compiled graphs" in str(warning.message) for warning in caught) == 1


def networks():
    torch.manual_seed(3)
    parts = lambda: [  # noqa: E731
        SparseLinear(32, 64, block=16, density=0.5), nn.ReLU(), nn.Linear(64, 48), nn.GELU(approximate="tanh"),
        SparseLinear(48, 32, False, block=16, density=0.5), nn.SiLU(), SparseLinear(32, 16, block=8, density=0.5),
    ]  # fmt: skip
    ours = Sequential(*parts())
    theirs = nn.Sequential(*copy.deepcopy(list(ours)))
    return ours, theirs


def test_a_network_is_its_layers_one_by_one():
    ours, theirs = networks()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(6, 32)
    of_x = [x.clone().requires_grad_() for _ in range(2)]
    found, wanted = ours(of_x[0]), theirs(of_x[1])
    assert torch.allclose(found, wanted, atol=1e-5)
    dy = torch.randn_like(found)
    found.backward(dy)
    wanted.backward(dy)
    assert torch.allclose(of_x[0].grad, of_x[1].grad, atol=1e-5)
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters()):
        assert torch.allclose(a.grad, b.grad, atol=1e-4), name
    assert torch.equal(copy.deepcopy(ours)(x), ours(x))


def test_dropout_draws_in_training_alone_and_by_torchs_seed():
    net = Sequential(SparseLinear(32, 256, block=16, density=1), nn.ReLU(), nn.Dropout(0.5), SparseLinear(256, 16, block=16, density=1))
    x = torch.randn(8, 32)
    torch.manual_seed(1)
    first = net(x)
    torch.manual_seed(1)
    assert torch.equal(net(x), first) and not torch.equal(net(x), first)
    net.eval()
    assert torch.equal(net(x), net(x))
    mean = torch.stack([net.train()(x) for _ in range(200)]).mean(0)
    assert (mean - net.eval()(x)).abs().mean() < 0.1
    # The gradient goes through the draws of its forward pass, also where another pass came between.
    net.train()
    y = net(x)
    before = [grad.clone() for grad in torch.autograd.grad(y.sum(), net.parameters(), retain_graph=True)]
    net(x)
    again = torch.autograd.grad(y.sum(), net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, again))


def test_modules_that_do_not_fit_are_refused_by_name():
    for modules, text in [
        ([SparseLinear(16, 16), nn.Tanh()], "1 \\(Tanh\\): is none of"),
        ([nn.ReLU()], "0 \\(ReLU\\): should stand behind a linear layer"),
        ([nn.Linear(16, 16), nn.GELU()], 'should be nn.GELU\\(approximate="tanh"\\)'),
        ([nn.Linear(16, 16), nn.ReLU(), nn.ReLU()], "2 \\(ReLU\\): should stand behind a linear layer"),
        ([nn.Linear(16, 16), nn.Linear(8, 16)], "width"),
    ]:
        with pytest.raises(fw.errors.ArgumentError, match=text):
            Sequential(*modules)(torch.zeros(2, 16))


@pytest.mark.parametrize("experts, top_k", [(8, 2), (4, 1), (3, 3)])
def test_a_mixture_is_that_of_its_formula(experts, top_k):
    torch.manual_seed(experts)
    moe = MoE(32, experts=experts, top_k=top_k, hidden=48, activation="gelu")
    x = torch.randn(20, 32, requires_grad=True)
    y = moe(x)
    dy = torch.randn_like(y)
    y.backward(dy)

    router, up, down = (weight.detach().double().requires_grad_() for weight in (moe.router, moe.up, moe.down))
    x64 = x.detach().double().requires_grad_()
    shares = (x64 @ router.T).softmax(-1)
    top = shares.topk(top_k, -1)
    weights = top.values / top.values.sum(-1, keepdim=True) if top_k > 1 else top.values
    wanted = torch.zeros_like(x64)
    for choice in range(top_k):
        for expert in range(experts):
            rows = slice(48 * expert, 48 * (expert + 1))
            of = nn.functional.gelu(x64 @ up[rows].T, approximate="tanh") @ down[rows]
            wanted = wanted + of * (weights[:, choice] * (top.indices[:, choice] == expert))[:, None]
    wanted.backward(dy.double())
    assert torch.allclose(y.double(), wanted, atol=1e-4)
    for name, a, b in zip(("x", "router", "up", "down"), (x, moe.router, moe.up, moe.down), (x64, router, up, down)):
        assert torch.allclose(a.grad.double(), b.grad, atol=2e-4), name
    assert torch.equal(copy.deepcopy(moe)(x), y)
    both = Sequential(nn.Linear(32, 32), MoE(32, experts=4, top_k=2))
    both(x).sum().backward()
    assert all(parameter.grad is not None for parameter in both.parameters())
