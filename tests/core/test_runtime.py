"""Every runtime answers as torch in float32 does; the fastest that agrees is kept, and what can't work is said."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
import torch
from torch import nn

from galenic.core import registry, runtime
from galenic.core.contract import Field, Prepared
from galenic.core.errors import DigestError, ModelFolderError, UnreadableFile, ValueProblem
from galenic.core.network import Network
from galenic.core.runtimes.torch import Torch
from galenic.core.task import Task

RUNTIMES = ["onnx", "openvino", "torch"]
TASK = Task(
    name="tiny",
    inputs=[Field(name="image", kind="image", columns=["image"])],
    targets=[Field(name="label", kind="mask", columns=["label"])],
)


@pytest.fixture(autouse=True)
def two_threads():
    """OpenVINO is not used with a single thread, which is what each worker of a test run on all cores has."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


class Tiny(Network):
    """Down, up and a skip, with instance norm and a transposed convolution: what a planned U-Net is made of."""

    def __init__(self, dims: int, task: Task = TASK) -> None:
        super().__init__(task, {})
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if dims == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        norm = nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d
        self.first = nn.Sequential(conv(1, 8, 3, 1, 1), norm(8, affine=True), nn.LeakyReLU(0.01))
        self.down = nn.Sequential(conv(8, 16, 3, 2, 1), norm(16, affine=True), nn.LeakyReLU(0.01))
        self.up = up(16, 8, 2, 2)
        self.last = conv(16, 3, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        high = self.first(image)
        return (self.last(torch.cat([high, self.up(self.down(high))], 1)),)


class Pair(Network):
    """Two inputs, two outputs, told apart by size."""

    def __init__(self) -> None:
        super().__init__(TASK, {})
        self.wide, self.narrow = nn.Linear(3, 5), nn.Linear(4, 2)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.wide(one), self.narrow(other)


class Plug:
    """Infers a whole case in one call."""

    name = "tiny"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def shapes(self, frames, settings):
        return [self.shape]

    def infer(self, run, prepared, frames, settings):
        return {"label": run(prepared.arrays["image"][None])[0][0]}


class Within:
    """A parity rule: the largest difference of the logits is at most `limit`."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def agree(self, ours, reference):
        gap = float(np.abs(ours - reference).max())
        return gap, gap <= self.limit


@pytest.fixture
def rule(monkeypatch):
    def use(limit: float) -> None:
        monkeypatch.setattr(registry, "target", lambda field: Within(limit))

    use(0.2)
    return use


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """A folder for each number of axes in which the exported network stays; exporting takes a second."""
    return {dims: tmp_path_factory.mktemp(f"net{dims}") for dims in (2, 3)}


@pytest.fixture(scope="module")
def picked_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("picked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "target", lambda field: Within(0.2))
        pick(folder)
    return folder


@pytest.fixture
def picked(picked_once, tmp_path):
    """A folder of one's own in which a runtime has been picked."""
    return shutil.copytree(picked_once, tmp_path / "runtime")


def tiny(dims: int = 2) -> Tiny:
    torch.manual_seed(0)
    return Tiny(dims)


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def opened(name, network, shapes, folder=None, precision="f32", **how):
    return registry.get("runtimes", name)().open(network, shapes, folder, precision=precision, **how)


def pick(folder, cases=None, **how):
    cases = cases or [Prepared({"image": picture(1, 32, 32, seed=seed)}) for seed in range(2)]
    return runtime.pick(tiny(), Plug((1, 1, 32, 32)), cases=cases, frames={}, settings={}, folder=folder, **how)


def test_the_registered_runtimes_are_those_tested():
    assert registry.names("runtimes") == RUNTIMES


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_gives_what_torch_gives(name, dims, nets):
    network, shape = tiny(dims).train(), (1, 1, *(16,) * dims)
    array = picture(3, *shape[1:])
    with torch.inference_mode():
        expected = tiny(dims).eval()(torch.from_numpy(array))[0].numpy()
    array.flags.writeable = False
    for layout in registry.get("runtimes", name)().layouts([shape]):
        (found,) = opened(name, network, [shape], nets[dims], threads=1, layout=layout)(array)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert network.training


@pytest.mark.parametrize("name", RUNTIMES)
def test_half_precision_is_near_and_is_not_float32(name, nets):
    network, shape = tiny(3), (1, 1, 16, 16, 16)
    array = picture(*shape)
    (expected,) = opened(name, network, [shape], nets[3])(array)
    for precision in registry.get("runtimes", name)().precisions():
        (found,) = opened(name, network, [shape], nets[3], precision=precision)(array)
        gap = np.abs(found - expected).max()
        assert gap < 0.1 * expected.std()
        assert (gap == 0) == (precision == "f32")


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_instance_norm_bears_a_large_mean(name):
    """Exports that compute the variance as E[x²] - E[x]² lose it here: the exact difference is below 1e-3 of the sd."""

    class Norm(Network):
        def __init__(self) -> None:
            super().__init__(TASK, {})
            self.norm = nn.InstanceNorm3d(2, affine=True)

        def forward(self, image):
            return (self.norm(image),)

    array = picture(1, 2, 16, 16, 16) + 1000
    with torch.inference_mode():
        expected = Norm().double()(torch.from_numpy(array).double())[0].numpy()
    (found,) = opened(name, Norm(), [array.shape])(array)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("name", RUNTIMES)
def test_inputs_and_outputs_keep_their_order(name):
    torch.manual_seed(0)
    network, one, other = Pair(), picture(2, 3), picture(2, 4)
    wide, narrow = opened(name, network, [(1, 3), (1, 4)])(one, other)
    assert (wide.shape, narrow.shape) == ((2, 5), (2, 2))
    np.testing.assert_allclose(
        wide, one @ network.wide.weight.detach().numpy().T + network.wide.bias.detach().numpy(), atol=1e-5
    )


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    opened("torch", tiny(), [(1, 1, 8, 8)], threads=before + 1)(picture(1, 1, 8, 8))
    assert torch.get_num_threads() == before


def test_a_runner_is_not_changed_by_further_training():
    network, array = tiny(), picture(1, 1, 8, 8)
    run = opened("torch", network, [array.shape])
    before = run(array)[0]
    with torch.no_grad():
        network.last.weight.add_(1.0)
    np.testing.assert_array_equal(run(array)[0], before)


class TestPick:
    def test_the_fastest_that_agrees_is_written_and_opened(self, picked):
        choice = runtime.read_choice(picked)
        agreed = [one for one in choice.candidates if one.agreed]
        assert choice.chosen.seconds == min(one.seconds for one in agreed)
        assert {one.runtime for one in choice.candidates} == set(RUNTIMES)
        assert all(len(one.parity["label"]) == 2 for one in agreed[1:])
        assert all(one.agreed or one.note for one in choice.candidates)
        assert json.loads((picked / "runtime.json").read_text())["exported"]["shapes"] == [[1, 1, 32, 32]]
        run = runtime.open_chosen(picked, tiny(), shapes=[(1, 1, 32, 32)])
        assert (run.runtime, run.precision, run.note) == (choice.chosen.runtime, choice.chosen.precision, "")
        array = picture(1, 1, 32, 32)
        np.testing.assert_allclose(run(array)[0], opened("torch", tiny(), [])(array)[0], atol=0.2)

    def test_exact_pins_float32(self, tmp_path, rule, picked):
        choice = pick(tmp_path, exact=True)
        assert runtime.read_choice(tmp_path) == choice
        assert choice.chosen.precision == "f32"
        assert all("exact" in one.note for one in choice.candidates if one.precision == "bf16")
        assert runtime.open_chosen(picked, tiny(), shapes=[(1, 1, 32, 32)], exact=True).precision == "f32"

    def test_what_does_not_agree_is_never_chosen(self, tmp_path, rule):
        rule(1e-4)
        choice = pick(tmp_path)
        half = [one for one in choice.candidates if one.precision == "bf16"]
        assert not any(one.agreed for one in half)
        assert all("parity" in one.note and max(one.parity["label"]) > 1e-4 for one in half if one.seconds)

    def test_where_none_agrees_it_stays_on_torch(self, tmp_path, rule, monkeypatch):
        rule(-1.0)
        choice = pick_among(monkeypatch, tmp_path, Torch)
        assert (choice.chosen.runtime, choice.chosen.precision, choice.chosen.layout) == ("torch", "f32", "default")

    def test_an_output_that_is_not_finite_never_agrees(self, tmp_path, rule, monkeypatch):
        class Broken(Torch):
            def open(self, *args, **kwargs):
                right = super().open(*args, **kwargs)
                return lambda *arrays: (np.full_like(right(*arrays)[0], np.nan),)

        monkeypatch.setattr(Within, "agree", lambda self, ours, reference: (float(np.max(ours)), True))
        choice = pick_among(monkeypatch, tmp_path, Broken)
        broken = [one for one in choice.candidates if one.runtime == "other"]
        assert broken
        assert not any(one.agreed for one in broken)
        assert broken[0].parity["label"] == [None, None]

    def test_a_hopelessly_slow_or_failing_one_is_left_out(self, tmp_path, rule, monkeypatch):
        class Slow(Torch):
            calls = 0

            def open(self, *args, **kwargs):
                right = super().open(*args, **kwargs)

                def run(*arrays):
                    Slow.calls += 1
                    time.sleep(0.2)
                    return right(*arrays)

                return run

        choice = pick_among(monkeypatch, tmp_path, Slow)
        others = [one for one in choice.candidates if one.runtime == "other"]
        assert all("left out: a call takes" in one.note and one.seconds is None for one in others)
        assert Slow.calls == 4 * len(others), "no whole case is run where one call shows that it is slower"

        class Failing(Torch):
            def open(self, *args, **kwargs):
                raise RuntimeError("no such operator\nand much more")

        choice = pick_among(monkeypatch, tmp_path, Failing)
        failed = next(one for one in choice.candidates if one.runtime == "other")
        assert failed.note == "failed: RuntimeError: no such operator"
        assert choice.chosen.runtime == "torch"

    def test_one_that_changes_the_score_is_left_out_though_its_outputs_agree(self, tmp_path, monkeypatch):
        class Shifted(Torch):
            def open(self, *args, **kwargs):
                right = super().open(*args, **kwargs)
                return lambda *arrays: (right(*arrays)[0] + np.float32(0.1),)

        class Scoring(Within):
            def quick(self, outputs, truths, field):
                return float(np.mean([output.mean() - truth for output, truth in zip(outputs, truths, strict=True)]))

        monkeypatch.setattr(registry, "target", lambda field: Scoring(0.2))
        cases = [Prepared({"image": picture(1, 32, 32, seed=seed), "label": np.float32(0)}) for seed in range(2)]
        choice = pick_among(monkeypatch, tmp_path, Shifted, cases=cases)
        shifted = [one for one in choice.candidates if one.runtime == "other" and one.seconds is not None]
        assert shifted
        assert all(one.note == "left out: the main score is another" and not one.agreed for one in shifted)
        reference = choice.candidates[0].scores["label"]
        assert all(one.scores["label"] == pytest.approx(reference + 0.1, abs=0.02) for one in shifted)
        assert choice.chosen.runtime == "torch"

    def test_no_case_is_refused(self, tmp_path):
        with pytest.raises(ValueProblem, match="no case"):
            runtime.pick(tiny(), Plug((1, 1, 8, 8)), cases=[], frames={}, settings={}, folder=tmp_path)


def pick_among(monkeypatch, folder, other, **how):
    """`pick` with torch and one more runtime."""
    real = registry.get
    monkeypatch.setattr(registry, "names", lambda group: ["other", "torch"])
    monkeypatch.setattr(registry, "get", lambda group, name: other if name == "other" else real(group, name))
    return pick(folder, **how)


class TestOpenChosen:
    def test_nothing_picked_runs_on_torch_and_says_so(self, tmp_path):
        run = runtime.open_chosen(tmp_path, tiny(), shapes=[(1, 1, 8, 8)])
        assert (run.runtime, run.precision) == ("torch", "f32")
        assert "no runtime was measured" in run.note

    def test_a_runtime_that_is_not_here_falls_back_with_a_note(self, picked):
        choice = runtime.read_choice(picked)
        gone = choice.chosen.model_copy(update={"runtime": "tensorrt"})
        alone = choice.model_copy(update={"chosen": gone, "candidates": [gone]})
        (picked / "runtime.json").write_text(alone.model_dump_json())
        run = runtime.open_chosen(picked, tiny(), shapes=[(1, 1, 32, 32)])
        assert (run.runtime, run.precision) == ("torch", "f32")
        assert "tensorrt" in run.note
        with pytest.raises(ModelFolderError):
            runtime.open_chosen(picked, None, shapes=[(1, 1, 32, 32)])

    def test_the_next_that_agreed_comes_before_torch(self, picked):
        choice = runtime.read_choice(picked)
        gone = choice.chosen.model_copy(update={"precision": "f8", "runtime": "openvino"})
        rest = [one for one in choice.candidates if one.runtime == "onnx"]
        (picked / "runtime.json").write_text(
            choice.model_copy(update={"chosen": gone, "candidates": rest}).model_dump_json()
        )
        run = runtime.open_chosen(picked, None, shapes=[(1, 1, 32, 32)])
        assert run.runtime == "onnx"
        assert "no f8 on this machine's cpu" in run.note

    def test_a_damaged_export_is_an_error_and_no_reason_to_fall_back(self, picked):
        choice = runtime.read_choice(picked)
        onnx = next(one for one in choice.candidates if one.runtime == "onnx")
        (picked / "runtime.json").write_text(choice.model_copy(update={"chosen": onnx}).model_dump_json())
        (picked / "net.onnx").write_bytes(b"not what was written")
        with pytest.raises(DigestError):
            runtime.open_chosen(picked, tiny(), shapes=[(1, 1, 32, 32)])

    def test_a_record_with_unknown_keys_is_refused(self, picked):
        record = runtime.read_choice(picked).model_dump() | {"surprise": 1}
        (picked / "runtime.json").write_text(json.dumps(record))
        with pytest.raises(UnreadableFile, match="surprise"):
            runtime.open_chosen(picked, tiny(), shapes=[(1, 1, 32, 32)])
