"""plan.json says every decision with its reason, whatever the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from galenic.core.decide import make_plan
from galenic.core.fit import Job, open_job
from galenic.core.plan import Plan
from galenic.core.progress import Silent
from galenic.images.networks import unet2015

SPACE = ("dims", "shrink", "crop", "patch", "augment", "normalise image")


@pytest.fixture(params=["unet", "unet_residual", "unet2015", "mlp"])
def plan(request, disc_job, cancer, cancer_task, tmp_path: Path, monkeypatch) -> Plan:
    """A plan as training makes it, probe and all."""
    name = request.param
    monkeypatch.setattr(unet2015, "WIDTHS", (2, 4, 8, 16, 32))
    job = disc_job(tmp_path / "out", network=name, folds=2)
    if name == "mlp":
        job = Job(cancer_task, cancer, tmp_path, tmp_path / "out", budget="4steps", network=name, device="cpu", folds=2)
    work = open_job(job, Silent())
    if name.startswith("unet") and name != "unet2015":
        work.network_settings["widths"] = [4] * len(work.network_settings["widths"])
    return make_plan(work, torch.device("cpu"), Silent())


def test_every_decision_has_its_reason(plan: Plan) -> None:
    """What training takes over from the network is reasoned there."""
    own = {f"network.{key}": key for key in plan.network.settings}
    lacking = [name for name in own if not plan.reasons.get(name)]
    for key in type(plan.training).model_fields:
        if not plan.reasons.get(f"training.{key}") and f"network.{key}" not in own:
            lacking.append(f"training.{key}")
    if "space" in plan.frames:
        lacking += [f"space.{key}" for key in SPACE if not plan.reasons.get(f"space.{key}")]
    lacking += [key for key in ("network", "folds") if not plan.reasons.get(key)]
    assert lacking == []


def test_no_reason_is_told_of_what_is_not_there(plan: Plan) -> None:
    """A reason names a key of the plan, or what no key holds: the loss, the spacing that sets the grid."""
    known = {
        *(f"network.{key}" for key in plan.network.settings),
        *(f"training.{key}" for key in plan.training.model_dump()),
    }
    named = [key for key in plan.reasons if key.startswith(("network.", "training."))]
    assert set(named) - known <= {"network.loss"}
    assert all(isinstance(text, str) and text.strip() for text in plan.reasons.values())
