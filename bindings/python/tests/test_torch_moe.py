"""Mixtures of experts, against their formula in float64."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="SKIPPED: no PyTorch")
from torch import nn  # noqa: E402

import fretwork as fw  # noqa: E402
from fretwork.torch import MoE, Sequential, SparseLinear  # noqa: E402

BALANCED = {"aux": 0.03, "importance": 0.2, "z_loss": 0.01}


class Formula:
    """A mixture in float64: its parameters as dense leaves, its output, and its losses of balance."""

    def __init__(self, moe):
        self.moe = moe
        dense = [moe.router, moe.to_dense("up"), moe.to_dense("down")]
        self.router, self.up, self.down = (weight.detach().double().requires_grad_() for weight in dense)

    def __call__(self, x):
        moe, logits = self.moe, x @ self.router.T
        shares = logits.softmax(-1)
        top = shares.topk(moe.top_k, -1)
        weights = top.values / (1e-9 + top.values.sum(-1, keepdim=True)) if moe.top_k > 1 else top.values
        y = torch.zeros_like(x)
        of_expert = torch.zeros(len(x), moe.experts, dtype=torch.float64).scatter(1, top.indices, weights)
        for expert in range(moe.experts):
            rows = slice(moe.hidden * expert, moe.hidden * (expert + 1))
            hidden = nn.functional.gelu(x @ self.up[rows].T, approximate="tanh")
            y = y + hidden @ self.down[rows] * of_expert[:, expert, None]
        first = nn.functional.one_hot(top.indices[:, 0], moe.experts).double().mean(0)
        sums = of_expert.sum(0)
        self.losses = {
            "aux": moe.experts * (shares.mean(0) * first).sum(),
            "importance": sums.var() / (sums.mean() ** 2 + 1e-10),
            "z_loss": logits.logsumexp(-1).square().mean(),
        }  # fmt: skip
        return y, moe.aux * self.losses["aux"] + moe.importance * self.losses["importance"] + moe.z_loss * self.losses["z_loss"]


def near(found, wanted, share=1e-4):
    """Whether the largest error is below a share of the largest number."""
    return bool((found.double() - wanted).abs().max() <= share * wanted.abs().max() + 1e-12)


def grads(moe, formula):
    """Pairs of gradients: the module's, and the formula's cut to the stored blocks."""
    yield moe.router.grad, formula.router.grad
    for name in ("up", "down"):
        found, wanted = getattr(moe, name).grad, getattr(formula, name).grad
        if moe.density is not None:
            stored = copy.deepcopy(moe)
            getattr(stored, name).data.fill_(1)
            mask = stored.to_dense(name).detach().bool()
            getattr(stored, name).data.copy_(found)
            found, wanted = stored.to_dense(name).detach(), wanted * mask
        yield found, wanted


@pytest.mark.parametrize("density", [None, 0.3, 1.0])
@pytest.mark.parametrize("experts, top_k", [(8, 2), (4, 1)])
@pytest.mark.parametrize("weight", [1.0, 0.25, 0.0, -3.0])
def test_balance_losses_are_those_of_the_formula(density, experts, top_k, weight):
    torch.manual_seed(experts)
    moe = MoE(32, experts=experts, top_k=top_k, hidden=48, density=density, **BALANCED)
    moe.router.data.mul_(10)
    x = torch.randn(40, 32, requires_grad=True)
    y = moe(x)
    # A small gradient of the output, beside which that of the losses is far above rounding.
    dy = 0.01 * torch.randn_like(y)
    ((y * dy).sum() + weight * moe.balance_loss).backward()

    formula, x64 = Formula(moe), x.detach().double().requires_grad_()
    wanted, balance = formula(x64)
    ((wanted * dy.double()).sum() + weight * balance).backward()
    assert near(y.detach(), wanted.detach())
    assert near(moe.balance_loss.detach(), balance.detach())
    for name, loss in formula.losses.items():
        assert moe.balance_losses[name] == pytest.approx(loss.item(), rel=1e-4), name
    assert near(x.grad, x64.grad)
    assert all(near(found, of) for found, of in grads(moe, formula))
    if weight:
        # The oracle objects to another weight.
        other, x64 = Formula(moe), x.detach().double().requires_grad_()
        wanted, balance = other(x64)
        ((wanted * dy.double()).sum() + 1.5 * weight * balance).backward()
        assert not near(moe.router.grad, other.router.grad)


def test_balance_alone_has_a_gradient_and_evaluation_has_none():
    torch.manual_seed(1)
    moe = MoE(32, experts=4, **BALANCED)
    x = torch.randn(30, 32)
    moe(x)
    moe.balance_loss.backward()
    formula = Formula(moe)
    formula(x.double())[1].backward()
    assert near(moe.router.grad, formula.router.grad) and (moe.up.grad == 0).all()
    moe.eval()
    moe(x)
    assert moe.balance_loss == 0 and moe.balance_losses == {}
    plain = MoE(32, experts=4)
    plain(x)
    assert plain.balance_loss == 0 and not plain.balance_loss.requires_grad
    moe.train()
    moe(torch.zeros(0, 32))
    assert moe.balance_loss == 0
    # A copy is without the graph of the last pass.
    moe(x)
    assert copy.deepcopy(moe).balance_loss == 0 and moe.balance_loss > 0


def test_mixtures_within_a_network_of_ours_each_have_their_losses():
    torch.manual_seed(2)
    first = SparseLinear(64, 32, block=16, density=0.25)
    parts = [first, MoE(32, experts=4, hidden=32, density=0.5, **BALANCED), MoE(32, experts=2, hidden=32, aux=0.5)]
    ours, theirs = Sequential(*parts), nn.Sequential(*copy.deepcopy(parts))
    x = torch.randn(24, 64)
    for net in (ours, theirs):
        (net(x).square().sum() + 2 * net[1].balance_loss + 3 * net[2].balance_loss).backward()
    for first, second in zip(ours[1:], theirs[1:]):
        assert torch.allclose(first.balance_loss, second.balance_loss, rtol=1e-4)
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters()):
        assert near(a.grad, b.grad.double(), 1e-3), name


def test_an_update_scores_the_gradient_of_the_losses_of_balance_too():
    torch.manual_seed(2)
    first = SparseLinear(256, 32, block=16, density=0.5)
    ours = Sequential(first, MoE(32, experts=4, hidden=32, density=0.5, **BALANCED))
    theirs = nn.Sequential(*copy.deepcopy(list(ours)))
    x = torch.randn(24, 256)
    tiles = lambda of: of.reshape(2, 16, 16, 16).abs().sum((1, 3)).flatten()  # noqa: E731
    stored = tiles(first.mask().float()) > 0

    def updated(weight):
        """Stored blocks after RigL's update by the gradient of this loss: the four smallest go, those of the four largest gradients come."""
        out = theirs[0](x)
        out.retain_grad()
        (1e-5 * theirs[1](out).square().sum() + weight * theirs[1].balance_loss).backward()
        kept = stored.clone()
        kept[tiles(first.to_dense().detach()).masked_fill(~stored, torch.inf).topk(4, largest=False).indices] = False
        grown = tiles(out.grad.T @ x).masked_fill(kept, -torch.inf).topk(4).indices
        return kept.index_fill(0, grown, True)

    wanted = updated(1.0)
    assert not torch.equal(wanted, updated(0.0))
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    sparse = fw.torch.Sparsifier(ours, "rigl", optimizer, 100, 1, 0.3, 0.75, 0, [], [])
    # The first step moves no block, and the weights are left alone.
    for steps in (True, False):
        (1e-5 * ours(x).square().sum() + ours[1].balance_loss).backward()
        assert sparse.step() == steps
    assert torch.equal(tiles(first.mask().float()) > 0, wanted) and sparse.exchanged == int((wanted & ~stored).sum())


def test_a_training_balances_experts():
    """A router that prefers one expert is brought to use all of them."""
    torch.manual_seed(3)
    x = torch.randn(256, 32)
    spread = {}
    for aux in (0.0, 1.0):
        torch.manual_seed(4)
        moe = MoE(32, experts=4, top_k=1, hidden=32, aux=aux)
        with torch.no_grad():
            moe.router[0] += x.mean(0) * 30
        optimizer = torch.optim.Adam(moe.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            (0.01 * (moe(x) - x).square().mean() + moe.balance_loss).backward()
            optimizer.step()
        spread[aux] = torch.bincount((x @ moe.router.T).argmax(1), minlength=4).float().std().item()
    assert spread[1.0] < spread[0.0]


def test_sparse_experts_are_parameters_and_buffers():
    moe = MoE(64, experts=4, density=0.25)
    assert [name for name, _ in moe.named_parameters()] == ["router", "up", "down"]
    assert sorted(name for name, _ in moe.named_buffers()) == ["down_col_indices", "down_crow_indices", "up_col_indices", "up_crow_indices"]
    assert moe.up.shape[1:] == (16, 16) and moe.up.numel() == 0.25 * 4 * 128 * 64 and "density=0.25" in repr(moe)
    x = torch.randn(9, 64)
    wanted = moe(x)
    other = MoE(64, experts=4, density=0.25)
    assert not torch.equal(other(x), wanted)
    other.load_state_dict(moe.state_dict())
    assert torch.equal(other(x), wanted) and torch.equal(copy.deepcopy(moe)(x), wanted)
    for density in (0, 1.5):
        with pytest.raises(fw.errors.ArgumentError, match="density: should be above 0"):
            MoE(64, density=density)
    for name in ("aux", "importance", "z_loss"):
        with pytest.raises(fw.errors.ArgumentError, match=f"{name}: should be a finite number, but is nan"):
            MoE(64, **{name: float("nan")})
