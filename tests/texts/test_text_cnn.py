import numpy as np
import pytest
import torch

from galenic.core import registry, runtime
from galenic.core.contract import Batch, Budget, Field
from galenic.core.frames import collate
from galenic.core.task import Task
from galenic.texts.networks.text_cnn import TEXT_CNN

BUDGET = Budget(steps=10)
SMALL = {"dim": 32, "filters": 16, "dropout": 0.2, "word_noise": 0.0, "learning_rate": 1e-2}


def planned(world):
    settings, reasons = TEXT_CNN.plan(world.task, world.settings, BUDGET)
    assert set(reasons) == set(settings)
    return settings | SMALL


def batch_of(world, cases):
    rng = np.random.default_rng(0)
    return collate([world.frames.sample(rng, case, world.settings) for case in cases])


def trained(world, steps=100):
    torch.manual_seed(0)
    settings = planned(world)
    network = TEXT_CNN.build(world.task, world.settings, settings).train()
    step = torch.optim.AdamW(network.parameters(), settings["learning_rate"], weight_decay=0.01)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        picked = [world.part.prepared[at] for at in rng.choice(len(world.part.ids), 16, replace=False)]
        loss = network.losses(batch_of(world, picked), 0.0)["disease"].value.mean()
        step.zero_grad()
        loss.backward()
        step.step()
    return network.eval()


@pytest.fixture(scope="module")
def network(ill):
    return trained(ill)


def runner(network):
    def run(*arrays):
        with torch.no_grad():
            return tuple(out.numpy() for out in network(*(torch.from_numpy(np.asarray(a, np.float32)) for a in arrays)))

    return run


def said(world, network, **values):
    """Label and its probability."""
    labels = world.settings["row"]["categories"]["disease"]["labels"]
    logits = TEXT_CNN.infer(runner(network), world.prepare(**values), world.settings, planned(world))["disease"]
    p = np.exp(logits - logits.max())
    return labels[int(p.argmax())], float(p.max() / p.sum())


def test_it_tells_new_texts_apart(ill, network, new_cases):
    right = [said(ill, network, symptoms=text)[0] == truth for text, truth in
             zip(new_cases["text"], new_cases["disease"], strict=True)]  # fmt: skip
    assert np.mean(right) >= 0.9


def test_negation_counts(ill, network):
    """The same words, one negated or not: what is denied is no reason for the answer."""
    flu = ill.settings["row"]["categories"]["disease"]["labels"].index("flu")

    def of_flu(text):
        out = TEXT_CNN.infer(runner(network), ill.prepare(symptoms=text), ill.settings, planned(ill))["disease"]
        return float(torch.softmax(torch.from_numpy(out), 0)[flu])

    assert of_flu("fever, chills, cough and a sore throat") > 0.9
    assert of_flu("no fever, no chills, no cough and no sore throat") < 0.5
    assert of_flu("denies fever or chills; itchy rash") < 0.1


def test_a_misspelt_word_still_counts(ill, network):
    """Of words that training never saw, each near to one that it did."""
    assert said(ill, network, symptoms="throbbingg headachee")[0] == "migraine"
    assert said(ill, network, symptoms="itchyy rashh")[0] == "eczema"


def test_the_plan_says_shapes_and_what_fits(ill, aged):
    settings = planned(ill)
    length = ill.settings["words"]["texts"]["symptoms"]["length"]
    assert TEXT_CNN.shapes(ill.settings, settings) == [(1, length, 17)]
    assert TEXT_CNN.shapes(aged.settings, planned(aged)) == [(1, length, 17), (1, 2)]
    assert registry.choose_network(ill.task, None)[0] == "text_cnn"
    assert registry.choose_network(aged.task, None)[0] == "text_cnn"
    many = {**ill.settings, "words": {**ill.settings["words"], "cases": 50_000}}
    large, _ = TEXT_CNN.plan(ill.task, many, BUDGET)
    assert large["dim"] > TEXT_CNN.plan(ill.task, ill.settings, BUDGET)[0]["dim"]
    text, labs = ill.task.inputs[0], Field(name="age", kind="number", columns=["age"])
    picture, mask = Field(name="i", kind="image", columns=["i"]), Field(name="m", kind="mask", columns=["m"])
    disease = ill.task.targets
    assert TEXT_CNN.fits(Task(name="t", inputs=[labs], targets=disease)) == "it needs a text"
    assert "which i is not" in TEXT_CNN.fits(Task(name="t", inputs=[text, picture], targets=disease))
    assert "which m can't be" in TEXT_CNN.fits(Task(name="t", inputs=[text], targets=[mask]))


def test_parameters_are_counted_as_the_paper_does(ill):
    """Tables of words and pieces; a matrix a width (Kim 2014: width x dim x filters) and biases; the head."""
    settings = planned(ill) | {"dim": 20, "filters": 10, "widths": [3, 4, 5]}
    network = TEXT_CNN.build(ill.task, ill.settings, settings)
    own = ill.settings["words"]["texts"]["symptoms"]
    tables = 20 * (2 + len(own["vocabulary"].split(" ")) + 1 + own["different_pieces"])
    filters = sum(width * 20 * 10 + 10 for width in (3, 4, 5))
    assert sum(weight.numel() for weight in network.parameters()) == tables + filters + 3 * (20 + 30) + 3


def test_padding_is_nothing(ill, network):
    """A longer plan, and so more padding, gives the same answer and the same features."""
    case = ill.part.prepared[0]
    array = torch.from_numpy(case.arrays["symptoms"])[None]
    longer = torch.nn.functional.pad(array, (0, 0, 0, 16))
    with torch.no_grad():
        torch.testing.assert_close(network(array)[0], network(longer)[0])
        features = network.encode(network.embed(Batch({"symptoms": array}, 1)))
        empty = network.encode(network.embed(Batch({"symptoms": torch.zeros_like(array)}, 1)))
    tokens = int((array[0, :, 0] != 0).sum())
    assert features.mask[0].tolist() == [True] * tokens + [False] * (array.shape[1] - tokens)
    assert features.tokens.shape[:2] == features.mask.shape
    assert not features.tokens[0, tokens:].any()
    assert not empty.vector.any()
    assert not empty.mask.any()


def test_whole_numbers_may_come_as_floats(ill, network):
    array = torch.from_numpy(ill.part.prepared[3].arrays["symptoms"])[None]
    with torch.no_grad():
        assert torch.equal(network(array)[0], network(array.float())[0])
        assert network(1e6 * torch.randn(array.shape))[0].isfinite().all()


def test_a_number_beside_the_text_counts(aged):
    network = trained(aged, 5)
    case = aged.part.prepared[0]
    other = {**case.arrays, "age": case.arrays["age"] + np.float32([3, 0])}
    settings = planned(aged)
    one = TEXT_CNN.infer(runner(network), case, aged.settings, settings)["disease"]
    two = TEXT_CNN.infer(runner(network), type(case)(other), aged.settings, settings)["disease"]
    assert not np.allclose(one, two)
    embedded = network.embed(batch_of(aged, [case, case]))
    assert set(embedded) == {"symptoms", "age"}
    assert network.encode(embedded).vector.shape[0] == 2


def test_a_case_or_a_whole_batch_without_the_text_goes_on(aged):
    network = trained(aged, 2)
    cases = [aged.prepare(age=None, disease="flu", symptoms=None) for _ in range(2)]
    batch = batch_of(aged, cases)
    assert "symptoms" not in batch.values
    alone = network.losses(batch, 0.0)["disease"].value
    assert alone.shape == (2,)
    assert set(network.embed(batch)) == {"symptoms", "age"}
    mixed = network.losses(batch_of(aged, [cases[0], aged.part.prepared[0]]), 0.0)["disease"].value
    torch.testing.assert_close(mixed[0], alone[0])
    outputs = TEXT_CNN.infer(runner(network), cases[0], aged.settings, planned(aged))
    assert outputs["disease"].shape == (3,)


@pytest.mark.parametrize("which", ["ill", "aged"])
def test_every_runtime_that_is_installed_agrees(which, request, tmp_path):
    pytest.importorskip("onnxruntime")
    world = request.getfixturevalue(which)
    choice = runtime.pick(
        trained(world, 20), TEXT_CNN, cases=world.part.prepared[:4], frames=world.settings, settings=planned(world),
        folder=tmp_path,
    )  # fmt: skip
    tried = {one.runtime: one for one in choice.candidates if one.precision == "f32"}
    assert {"torch", "onnx"} <= tried.keys()
    for one in choice.candidates:
        assert "failed" not in one.note, one.note
        assert one.agreed or "left out" in one.note or not one.precision
    assert tried["onnx"].call_seconds is not None
