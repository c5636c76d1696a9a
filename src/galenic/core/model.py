"""A model folder in use: cases in, answers out; and its scores on a part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from galenic.core import blend, bundle, registry, runtime, simple
from galenic.core.contract import Answer, Field, Learner, Means, Mirrors, Outputs, Prepared, Runner, Settings, Values
from galenic.core.errors import InputError, ModelFolderError, Refused, TaskError
from galenic.core.fit import weights_name
from galenic.core.frames import Frames
from galenic.core.network import Network
from galenic.core.plan import Plan, load_plan
from galenic.core.probe import pick_device
from galenic.core.task import Task, load_task

_BARE = (str, bytes, int, float, list, tuple, dict, Path, np.ndarray, np.generic)
AT_ONCE = 64  # cases that are answered together, at most


@dataclass
class Model:
    """What a folder of `galenic train` holds, ready to answer.

    mirrored: the network's settings by which it answers over mirror images; None answers as the plan says.
    learners: the simple methods that a blend in `fitted` names, at least.
    """

    folder: Path
    task: Task
    plan: Plan
    fitted: dict[str, Settings]
    runners: list[Runner]
    frames: Frames
    notes: list[str] = field(default_factory=list)
    mirrored: Settings | None = None
    learners: dict[str, Learner] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json as it was written after training or the last evaluation."""
        path = self.folder / "metrics.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def prepare(self, values: Values) -> Prepared:
        return self.frames.prepare(values, self.plan.frames)

    def infer(self, prepared: Prepared) -> Outputs:
        """Raw outputs: the network's, or of the blend that was fitted for a target."""
        (given,) = blend.outputs_of(self.blending, [prepared])
        return self.blended(self.network(prepared), given)

    @property
    def blending(self) -> dict[str, Learner]:
        """The simple methods that the answers take up, by name."""
        return {name: self.learners[name] for name in blend.used(self.fitted)}

    def blended(self, outputs: Outputs, learners: Mapping[str, Outputs]) -> Outputs:
        """The network's raw outputs of a case weighed together with simple methods', for each target with a blend."""
        if not self.blending:
            return outputs
        given = blend.members(outputs, learners)
        return {
            one.name: blend.mixed(registry.target(one), given[one.name], self.fitted.get(one.name, {}))
            for one in self.task.targets
        }

    def network(self, prepared: Prepared) -> Outputs:
        """The network's raw outputs; the mean over the members of an ensemble."""
        plug = registry.network(self.plan.network.name)
        settings = self.mirrored or self.plan.network.settings
        if len(self.runners) > 1 and isinstance(plug, Means):
            return plug.infer_mean(self.runners, prepared, self.plan.frames, settings)
        found = [plug.infer(run, prepared, self.plan.frames, settings) for run in self.runners]
        if len(found) == 1:
            return found[0]
        return {name: np.mean([own[name] for own in found], axis=0) for name in found[0]}

    def answer(self, prepared: Prepared, outputs: Outputs | None = None) -> dict[str, Answer]:
        """One Answer a target, in the input's own grid and units; a refusal where the network can't judge the case."""
        try:
            outputs = self.infer(prepared) if outputs is None else outputs
        except Refused as error:
            return self.refuse(error)
        return answers(self.task, self.plan.frames, self.fitted, prepared, outputs)

    def answer_many(self, cases: Sequence[Prepared]) -> list[dict[str, Answer]]:
        """As `answer`, a case each: the simple methods of a blend take many cases in the time of one."""
        learners = blend.outputs_of(self.blending, cases)
        return [self.answer_from(one, self.judged(one), own) for one, own in zip(cases, learners, strict=True)]

    def judged(self, prepared: Prepared) -> Outputs | Refused:
        """The network's raw outputs, or why it can't judge the case."""
        try:
            return self.network(prepared)
        except Refused as error:
            return error

    def answer_from(
        self, prepared: Prepared, network: Outputs | Refused, learners: Mapping[str, Outputs]
    ) -> dict[str, Answer]:
        """The answers that raw outputs mean: the network's, or that it can't judge, and the simple methods' by name."""
        if isinstance(network, Refused):
            return self.refuse(network)
        return self.answer(prepared, self.blended(network, learners))

    def refuse(self, error: Refused) -> dict[str, Answer]:
        """The same refusal for every target."""
        return {one.name: Answer(None, refused=str(error)) for one in self.task.targets}

    @property
    def at_once(self) -> int:
        """How many cases may be answered together: one where a target's outputs may be volumes."""
        return 1 if any(registry.target(one).dense for one in self.task.targets) else AT_ONCE

    def live(self) -> Any:
        """The model fed measurement by measurement, see the network's own room; TaskError where the network can't."""
        name = self.plan.network.name
        make = getattr(registry.network(name), "live", None)
        if make is None:
            raise TaskError(f"the network {name} live", allowed="a recurrent one: gru, lstm, gru_d")
        return make(self, load_networks(self.folder, self.task, self.plan))

    def __call__(self, **values: Any) -> dict[str, Answer]:
        """Answer for the values of one case, given by field name; InputError for what is no field's."""
        self._check(values)
        return self.answer(self.prepare(values))

    def _check(self, values: Values) -> None:
        known = {one.name: one for one in self.task.fields}
        inputs = ", ".join(_told(one) for one in self.task.inputs)
        strange = [name for name in values if name not in known]
        if strange:
            raise InputError(f"the model has no field {', '.join(map(repr, strange))}", allowed=inputs)
        for name, value in values.items():
            bare = getattr(registry.kind(known[name].kind), "bare", False)
            if not bare and isinstance(value, _BARE):
                raise InputError(
                    f"{name} is a {known[name].kind} and was given as {type(value).__name__}",
                    allowed="a value of galenic, such as galenic.Image for an image",
                    todo="galenic.predict reads files and tables",
                )


def _told(one: Field) -> str:
    """A field with its columns, where it has several: these are given together."""
    columns = f" of the columns {', '.join(one.columns)}" if len(one.columns) > 1 else ""
    return f"{one.name} ({one.kind}{columns})"


def answers(
    task: Task, frames: Mapping[str, Settings], fitted: Mapping[str, Settings], prepared: Prepared, outputs: Outputs
) -> dict[str, Answer]:
    """The answer of every target that there is a raw output of; a simple method may have some of them only."""
    done, told = {}, notes_of(prepared)
    for one in (one for one in task.targets if one.name in outputs):
        kind = registry.target(one)
        own = kind.answer(outputs[one.name], prepared, one, frames[kind.frame], fitted.get(one.name, {}))
        done[one.name] = replace(own, notes=(*own.notes, *told)) if told else own
    return done


def notes_of(prepared: Prepared) -> list[str]:
    """What the frames mended or ignored in a case, a sentence each."""
    facts = [own for own in prepared.facts.values() if isinstance(own, Mapping)]
    return list(dict.fromkeys(str(text) for own in facts for text in own.get("notes", ())))


def load_networks(folder: Path, task: Task, plan: Plan) -> list[Network]:
    """The trained network, or the members of a cross-validated ensemble."""
    plug = registry.network(plan.network.name)
    members = max(plan.folds, 1)
    found = []
    for number in range(members):
        network = plug.build(task, plan.frames, plan.network.settings)
        try:
            network.load_state_dict(bundle.load_weights(folder / weights_name(number, members)))
        except RuntimeError as error:
            raise ModelFolderError(
                f"the weights in {folder} do not fit its plan", todo="copy the model folder again"
            ) from error
        network.eval()
        found.append(network)
    return found


def runtime_folder(folder: Path, number: int, members: int) -> Path:
    return folder / "runtime" if members <= 1 else folder / "runtime" / f"fold{number}"


def load_model(folder: Path, *, device: str = "auto", exact: bool = False, mirror: bool = False) -> Model:
    """Verify the folder's digests and open its network in the runtime that was picked for it.

    mirror: answers are averaged over mirror images; TaskError where the network can't.
    """
    bundle.verify(folder)
    task, plan = registry.checked(load_task(folder / "task.toml")), load_plan(folder / "plan.json")
    fitted = _read_fitted(folder)
    mirrored = _mirrored(plan) if mirror else None
    networks = load_networks(folder, task, plan)
    where = str(pick_device(device))
    plug = registry.network(plan.network.name)
    shapes = plug.shapes(plan.frames, plan.network.settings)
    runners: list[Runner] = []
    notes: list[str] = []
    for number, network in enumerate(networks):
        opened = runtime.open_chosen(
            runtime_folder(folder, number, len(networks)), network, shapes=shapes, device=where, exact=exact
        )
        runners.append(opened)
        if opened.note:
            notes.append(opened.note)
    learners = {name: simple.load(folder, task, plan.frames, name) for name in blend.used(fitted)}
    return Model(folder, task, plan, fitted, runners, Frames(task), notes, mirrored, learners)


def _mirrored(plan: Plan) -> Settings:
    plug = registry.network(plan.network.name)
    if not isinstance(plug, Mirrors):
        raise TaskError(
            f"mirrored answers of the network {plan.network.name}",
            allowed="a network that can average over mirror images, such as unet",
            todo="leave --mirror out",
        )
    return plug.mirrored(plan.frames, plan.network.settings)


def _read_fitted(folder: Path) -> dict[str, Settings]:
    path = folder / "fitted.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"{path} is damaged: {error}", todo="copy the model folder again") from error
