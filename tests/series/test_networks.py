"""The recurrent cells against their equations, the step against the whole, and what each network may not do."""

import numpy as np
import pytest
import torch

from galenic.core import registry
from galenic.core.contract import Budget, Field
from galenic.core.errors import TaskError
from galenic.core.task import Task
from galenic.series.step import Stepper

STEPS, VARIABLES, PLAIN = 9, 4, 3
ROW = {
    "numbers": {"labs": {"columns": ["a"], "median": [0], "mean": [0], "sd": [1]}},
    "categories": {"ill": {"labels": ["no", "yes"], "counts": [5, 4], "missing": 0}},
}  # fmt: skip


def world(name, *, waveform=False, samples=STEPS, padded=False, cases=40):
    """(network in eval mode, its settings, its plug) on a history or waveform and a plain column."""
    options = {"waveform": waveform}
    stay = Field(name="stay", kind="series", columns=["record"], options=options)
    labs = Field(name="labs", kind="number", columns=["a"])
    task = registry.checked(
        Task(name="t", inputs=[stay, labs], targets=[Field(name="ill", kind="category", columns=["ill"])])
    )
    own = {"waveform": waveform, "variables": list("abcd"), "samples": samples, "padded": padded}
    frames = {"clock": {"cases": cases, "series": {"stay": own}, "steps": STEPS, "step_hours": 1.0}, "row": ROW}
    plug = registry.network(name)
    settings, _ = plug.plan(task, frames, Budget(seconds=60))
    torch.manual_seed(0)
    return plug.build(task, frames, settings).eval(), settings, plug


def history(batch, seed=0):
    """Arrays as the frame makes them: values carried forward, flags, times since."""
    rng = np.random.default_rng(seed)
    array = np.zeros((batch, STEPS, 3 * VARIABLES), np.float32)
    for case in range(batch):
        for at in range(VARIABLES):
            last = None
            for step in range(STEPS):
                if rng.random() < 0.5:
                    last = step
                    array[case, step, at], array[case, step, VARIABLES + at] = rng.normal(), 1
                elif last is not None:
                    array[case, step, at] = array[case, last, at]
                array[case, step, 2 * VARIABLES + at] = (step if last is None else step - last) / STEPS
    return torch.from_numpy(array), torch.from_numpy(rng.normal(size=(batch, 2)).astype(np.float32))


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_d"])
def test_step_by_step_is_the_whole_run_at_every_length(name):
    network, _, _ = world(name)
    stay, labs = history(50)
    stepper = Stepper(network)
    rows = stepper.rows(stay, labs)
    assert rows.shape == (50, STEPS, network.width)
    state = stepper.start(50)
    for step in range(STEPS):
        state, outputs = stepper.step(state, rows[:, step])
        with torch.no_grad():
            (whole,) = network(stay[:, : step + 1], labs)
        torch.testing.assert_close(outputs["ill"], whole, rtol=1e-5, atol=1e-5)
    assert state.steps == STEPS


def test_only_recurrent_networks_can_be_stepped():
    network, _, _ = world("tcn")
    with pytest.raises(TaskError, match="step by step"):
        Stepper(network)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_lstm_is_its_equations():
    network, _, _ = world("lstm")
    weights = {name: own.detach().numpy().astype(np.float64) for name, own in network.cell.named_parameters()}
    x = np.random.default_rng(1).normal(size=(1, STEPS, network.width))
    h = c = np.zeros(network.hidden)
    wanted = []
    for row in x[0]:
        both = (
            weights["weight_ih_l0"] @ row + weights["bias_ih_l0"] + weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
        )
        i, f, g, o = np.split(both, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        wanted.append(h)
    with torch.no_grad():
        found = network.unroll(torch.from_numpy(x).float())[0].numpy()
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-5)
    assert np.allclose(weights["bias_ih_l0"][network.hidden : 2 * network.hidden], 0.5)


def test_the_gru_is_its_equations():
    network, _, _ = world("gru")
    weights = {name: own.detach().numpy().astype(np.float64) for name, own in network.cell.named_parameters()}
    x = np.random.default_rng(1).normal(size=(1, STEPS, network.width))
    h = np.zeros(network.hidden)
    wanted = []
    for row in x[0]:
        ours = np.split(weights["weight_ih_l0"] @ row + weights["bias_ih_l0"], 3)
        theirs = np.split(weights["weight_hh_l0"] @ h + weights["bias_hh_l0"], 3)
        r, z = sigmoid(ours[0] + theirs[0]), sigmoid(ours[1] + theirs[1])
        h = (1 - z) * np.tanh(ours[2] + r * theirs[2]) + z * h
        wanted.append(h)
    with torch.no_grad():
        found = network.unroll(torch.from_numpy(x).float())[0].numpy()
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-5)


def test_gru_d_is_its_equations():
    """Che et al. 2018 by loops, from raw measurements: the decays are of the time since the one before."""
    network, _, _ = world("gru_d")
    with torch.no_grad():
        network.decay_input.uniform_(0.5, 3)
        network.decay_input_bias.uniform_(-0.2, 0.2)
        network.decay_state.bias.uniform_(-0.2, 0.2)
    w = {name: own.detach().numpy().astype(np.float64) for name, own in network.named_parameters()}
    stay, labs = history(1)
    value, measured = stay[0, :, :VARIABLES].numpy(), stay[0, :, VARIABLES : 2 * VARIABLES].numpy()
    h, last, delta = np.zeros(network.hidden), np.zeros(VARIABLES), np.zeros(VARIABLES)
    wanted = []
    for step in range(STEPS):
        if step:
            delta = np.where(measured[step - 1] > 0, 1 / STEPS, delta + 1 / STEPS)
        fade = np.exp(-np.maximum(0, w["decay_input"] * delta + w["decay_input_bias"]))
        x = np.where(measured[step] > 0, value[step], fade * last + (1 - fade) * 0)
        last = np.where(measured[step] > 0, value[step], last)
        h = np.exp(-np.maximum(0, w["decay_state.weight"] @ delta + w["decay_state.bias"])) * h
        given = np.concatenate([x, measured[step], labs[0].numpy()])
        ours = np.split(w["inputs_gates.weight"] @ given + w["inputs_gates.bias"], 3)
        theirs = np.split(w["state_gates.weight"] @ h + w["state_gates.bias"], 3)
        r, z = sigmoid(ours[0] + theirs[0]), sigmoid(ours[1] + theirs[1])
        h = (1 - z) * np.tanh(ours[2] + r * theirs[2]) + z * h
        wanted.append(h)
    with torch.no_grad():
        found = network.unroll(network.joined({"stay": stay, "labs": labs}))[0].numpy()
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-5)


def test_parameters_are_those_of_the_formula():
    for name, gates in (("lstm", 4), ("gru", 3)):
        network, settings, _ = world(name)
        hidden, width = settings["hidden"], 3 * VARIABLES + 2
        assert sum(own.numel() for own in network.cell.parameters()) == gates * (hidden * (width + hidden) + 2 * hidden)


def test_the_tcn_sees_no_later_step_and_all_earlier_ones():
    network, settings, _ = world("tcn")
    stay, labs = history(1)
    later, first = stay.clone(), stay.clone()
    later[:, 5:] += 1
    first[:, 0] += 1
    with torch.no_grad():
        known, changed, early = (network.encode({"stay": own, "labs": labs}).tokens for own in (stay, later, first))
    torch.testing.assert_close(known[:, :5], changed[:, :5])
    assert not torch.allclose(known[:, 5:], changed[:, 5:])
    assert not torch.allclose(known[:, -1], early[:, -1])
    assert 2 ** settings["levels"] * 4 - 3 >= STEPS


def test_the_residual_network_is_the_papers():
    """Three blocks, nine convolutions of 8, 5 and 3; the parameters by Wang, Yan and Oates' figure 1."""
    network, settings, _ = world("resnet1d", waveform=True, samples=96)
    assert settings["strides"] == {"stay": [1, 1, 1]}
    convs = [own for own in network.trunks[0].modules() if isinstance(own, torch.nn.Conv1d) and own.kernel_size != (1,)]
    assert [own.kernel_size[0] for own in convs] == [8, 5, 3] * 3
    wide = [(4, 64), (64, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128), (128, 128), (128, 128)]
    assert [(own.in_channels, own.out_channels) for own in convs] == wide
    body = sum(a * b * kernel + 2 * b for (a, b), kernel in zip(wide, [8, 5, 3] * 3, strict=True))
    short = 4 * 64 + 128 + 64 * 128 + 256 + 256
    head = (128 + 2) * 2 + 2
    assert sum(own.numel() for own in network.parameters()) == body + short + head


def test_long_waveforms_are_halved_and_padding_does_not_count():
    network, settings, _ = world("resnet1d", waveform=True, samples=3000, padded=True)
    assert len(settings["widths"]) == 5
    assert settings["strides"] == {"stay": [2] * 5}
    x = torch.randn(2, 3000, 5)
    x[:, :, 4] = 1
    x[:, 1000:] = 0
    labs = torch.zeros(2, 2)
    with torch.no_grad():
        tokens = network.encode({"stay": x, "labs": labs}).tokens
        vector = network.encode({"stay": x, "labs": labs}).vector
    assert tokens.shape[1] == -(-3000 // 32)
    real = -(-1000 // 32)
    torch.testing.assert_close(vector[:, :128], tokens[:, :real].mean(dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_d", "tcn", "resnet1d"])
def test_plans_have_their_reasons_whatever_the_number_of_cases(name):
    for cases in (1, 12, 800, 50_000):
        _, settings, plug = world(name, waveform=name == "resnet1d", cases=cases)
        assert 1 <= settings["batch"] <= 64
        assert settings["inputs"] == ["stay", "labs"]
        assert plug.shapes({}, settings)[1] == (1, 2)


@pytest.mark.parametrize("name", ["gru", "resnet1d"])
def test_many_at_once_are_each_alone(name, monkeypatch):
    from galenic.core.contract import Prepared
    from galenic.series import recurrent

    monkeypatch.setattr(recurrent, "AT_ONCE", 3)
    network, settings, plug = world(name, waveform=name == "resnet1d", samples=40)
    rng = np.random.default_rng(0)
    cases = [
        Prepared({own: rng.normal(size=settings["shapes"][own]).astype(np.float32) for own in settings["inputs"]})
        for _ in range(7)
    ]

    def run(*arrays):
        with torch.no_grad():
            return tuple(own.numpy() for own in network(*map(torch.from_numpy, arrays)))

    many = plug.infer_many(run, cases, {}, settings)
    assert len(many) == 7
    for case, own in zip(cases, many, strict=True):
        np.testing.assert_allclose(own["ill"], plug.infer(run, case, {}, settings)["ill"], atol=1e-5)
