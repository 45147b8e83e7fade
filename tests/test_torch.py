"""The adapter for PyTorch: watching a model, and vSGD as an optimiser."""

import functools
import io

import numpy as np
import pytest

import refsgd
from refsgd.directional import gradients

torch = pytest.importorskip("torch")

from refsgd.adapters.torch import VSGD, watch  # noqa: E402 - needs torch


def network(dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).to(dtype)


def backward(model, x):
    model(x.to(next(model.parameters()).dtype)).square().mean().backward()


def batches(n, size=6, seed=1):
    return torch.randn(n, size, 4, generator=torch.Generator().manual_seed(seed))


def flat(model):
    return np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])


# -- what a monitor takes


def test_parameters_and_their_gradients_are_read_where_they_are():
    model = network()
    backward(model, batches(1)[0])
    parts = gradients.parts_of(dict(model.named_parameters()), None)
    assert list(parts) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for part, parameter in zip(parts.values(), model.parameters(), strict=True):
        assert np.shares_memory(part.flat, parameter.grad.numpy())
        assert part.shape == tuple(parameter.shape)
        assert np.shares_memory(gradients.part_of("", parameter.grad, None).flat, parameter.grad.numpy())


def test_frozen_parameter_has_no_gradient_and_is_not_taken_for_one():
    model = network()
    model[0].weight.requires_grad_(False)
    backward(model, batches(1)[0])
    parts = gradients.parts_of(dict(model.named_parameters()), None)
    assert parts["0.weight"].flat is None and parts["0.bias"].flat is not None


def test_tensor_that_is_part_of_a_graph_is_detached():
    g = torch.ones(3, requires_grad=True).detach() * 2
    monitor = refsgd.DirectionMonitor()
    monitor.update({"leaf": g, "list": [g.double()]})
    assert monitor.report().groups["list.0"].dim == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_converted(dtype):
    rows = torch.randn(10, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    half, single = refsgd.DirectionMonitor(), refsgd.DirectionMonitor()
    for row in rows:
        half.update(row)
        single.update(row.float().numpy())
    assert half.report() == single.report()


def test_sparse_gradient_is_refused():
    g = torch.eye(3).to_sparse()
    with pytest.raises(TypeError, match="g must be a dense array in the memory of the CPU, got Tensor"):
        refsgd.DirectionMonitor().update(g)


# -- watch


def test_watch_sees_what_each_step_uses():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    exact = refsgd.DirectionMonitor()
    with watch(model, optimizer) as watched:
        for x in batches(6):
            optimizer.zero_grad()
            backward(model, x)
            exact.update(flat(model))
            optimizer.step()
    report = watched.monitor.report()
    assert list(report.groups) == [name for name, _ in model.named_parameters()]
    assert report.n == 6
    # The whole gradient as one array, and in groups: other orders of summation.
    assert report.snr == pytest.approx(exact.report().snr, rel=1e-12)
    assert report.kappa == pytest.approx(exact.report().kappa, rel=1e-12)


def test_accumulated_and_clipped_gradients_count_as_one():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    exact = refsgd.DirectionMonitor()
    with watch(model, optimizer) as watched:
        for x in batches(5):
            optimizer.zero_grad()
            for part in x.split(2):
                backward(model, part)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            exact.update(flat(model))
            optimizer.step()
    assert watched.monitor.report().n == 5
    assert watched.monitor.report().norm_snr == pytest.approx(exact.report().norm_snr, rel=1e-9)


def test_removed_watch_sees_nothing_more():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    backward(model, batches(1)[0])
    watched = watch(model, optimizer, refsgd.DirectionMonitor(every=2))
    optimizer.step()
    optimizer.step()
    watched.remove()
    optimizer.step()
    assert watched.monitor.n_gradients == 2
    assert watched.monitor.history.size == 5


def test_gradient_that_is_not_finite_is_left_out_with_a_warning():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer) as watched:
        backward(model, batches(1)[0])
        optimizer.step()
        model[2].bias.grad[0] = torch.nan
        with pytest.warns(refsgd.NumericalWarning, match=r'left a step out: g\["2.bias"\] must be finite'):
            optimizer.step()
    assert watched.monitor.report().n == 1
    assert model[2].bias.isnan().any()  # the step itself was done


# -- VSGD


def train(model, optimizer, samples):
    def closure(x):
        optimizer.zero_grad()
        loss = (model(x) - x[:, :2]).square().mean()
        loss.backward()
        return loss.detach()

    samples = samples.to(next(model.parameters()).dtype)
    return [float(optimizer.step(functools.partial(closure, x))) for x in samples]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_optimiser_takes_the_steps_of_a_run(dtype):
    model, twin = network(dtype), network(dtype)
    sizes = [p.numel() for p in twin.parameters()]
    x0 = np.concatenate([p.detach().numpy().ravel() for p in twin.parameters()])
    run = refsgd.VSGD().start(x0, groups=sizes)
    losses = train(model, VSGD(model.parameters()), batches(60))

    def evaluate(x):
        torch.nn.utils.vector_to_parameters(torch.from_numpy(run.ask().copy()), twin.parameters())
        twin.zero_grad()
        loss = (twin(x) - x[:, :2]).square().mean()
        loss.backward()
        run.tell(flat(twin))
        return float(loss.detach())

    for i, x in enumerate(batches(60).to(dtype)):
        assert losses[i] == evaluate(x)
        if run.is_open:
            evaluate(x)
    found = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    np.testing.assert_array_equal(found, run.x)


def test_closure_is_called_once_on_most_steps():
    model, calls = network(), []
    optimizer = VSGD(model.parameters())

    def closure(x):
        calls.append([p.detach().clone() for p in model.parameters()])
        optimizer.zero_grad()
        loss = (model(x) - x[:, :2]).square().mean()
        loss.backward()
        return loss

    counts = []
    for x in batches(300):
        before, n = [p.detach().clone() for p in model.parameters()], len(calls)
        optimizer.step(functools.partial(closure, x))
        counts.append(len(calls) - n)
        assert all(torch.equal(p, q) for p, q in zip(before, calls[n], strict=True))
    assert counts[:10] == [1] + [2] * 9
    assert set(counts) == {1, 2} and np.mean(counts[100:]) < 1.5


def test_layer_that_is_unfrozen_begins_then():
    model = network()
    model[0].requires_grad_(False)
    optimizer = VSGD(model.parameters())
    train(model, optimizer, batches(30))
    before = model[0].weight.detach().clone(), model[2].weight.detach().clone()
    model[0].requires_grad_(True)
    train(model, optimizer, batches(10, seed=2))
    assert torch.equal(model[0].weight, before[0])
    assert torch.equal(model[2].weight, before[1])  # all stand still, while the length is measured anew
    losses = train(model, optimizer, batches(300, seed=3))
    assert not torch.equal(model[0].weight, before[0])
    assert np.mean(losses[-50:]) < 0.1


def test_closure_that_fails_at_the_second_point_leaves_parameters_alone():
    model = network()
    optimizer = VSGD(model.parameters())
    train(model, optimizer, batches(1))
    before, calls = [p.detach().clone() for p in model.parameters()], []

    def closure():
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("no second time")
        model(batches(1)[0]).square().mean().backward()

    with pytest.raises(RuntimeError, match="no second time"):
        optimizer.step(closure)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    train(model, optimizer, batches(20))


def test_optimiser_learns():
    model = network()
    losses = train(model, VSGD(model.parameters()), batches(500, size=16))
    # 0.012 on this seed, from 0.97.
    assert np.mean(losses[-100:]) < 0.05


def test_optimiser_goes_on_from_its_state():
    model, resumed = network(), network(seed=9)
    optimizer = VSGD(model.parameters())
    train(model, optimizer, batches(40))
    with io.BytesIO() as file:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
    resumed.load_state_dict(saved["model"])
    other = VSGD(resumed.parameters())
    other.load_state_dict(saved["optimizer"])
    assert train(model, optimizer, batches(20, seed=2)) == train(resumed, other, batches(20, seed=2))


def test_parameters_that_others_change_are_gone_on_from():
    model = network()
    optimizer = VSGD(model.parameters())
    train(model, optimizer, batches(3))
    with torch.no_grad():
        model[0].weight.fill_(0.25)
    train(model, optimizer, batches(3))  # of the start, which takes no steps
    assert bool((model[0].weight == 0.25).all())


def test_gradient_that_is_not_finite_leaves_parameters_alone():
    model = network()
    optimizer = VSGD(model.parameters())
    train(model, optimizer, batches(20))
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(FloatingPointError, match="grad must be finite"):
        train(model, optimizer, torch.full((1, 6, 4), torch.inf))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m: VSGD(m.parameters()).step(), TypeError, "closure must be given, got None"),
        (lambda m: VSGD(m.half().parameters()), TypeError, "all float32 or all float64, got torch.float16"),
        (lambda m: VSGD(m.to("meta").parameters()), ValueError, r"on the CPU, got \['meta'\]"),
        (
            lambda m: VSGD(m.parameters(), refsgd.VSGD("sparse")),
            ValueError,
            "rule must be a refsgd.VSGD with",
        ),
        (
            lambda m: VSGD(m.parameters(), refsgd.PublishedVSGD()),
            ValueError,
            "rule must be a refsgd.VSGD with",
        ),
        (
            lambda m: VSGD(m.parameters()).add_param_group({"params": [torch.ones(2)]}),
            ValueError,
            "param_group must be given at the start",
        ),
    ],
)
def test_what_cannot_be_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call(network())
