"""A content such as a hippocampus run leaves, with every part filled."""

from __future__ import annotations

from typing import Any

import pytest

from galenic.report.page import Content, Picture

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="3"/></svg>'


def estimate(value: float | None, low: float | None = None, high: float | None = None, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, **more}


@pytest.fixture
def metrics() -> dict[str, Any]:
    return {
        "task": "hippocampus", "part": "test", "cases": 52, "main": {"target": "label", "score": "dice"},
        "seconds": {"train": 300.14, "evaluate": 9.04}, "warnings": ["patient unknown"],
        "targets": {"label": {
            "scores": {
                "hd95": estimate(1.437, 1.219, 1.718, unit="mm", definition="95th percentile of the distance"),
                "dice": estimate(0.88123, 0.8705, 0.8917, unit="", definition="2 |A n B| / (|A| + |B|)"),
            },
            "classes": {
                "anterior": {"dice": estimate(0.8951, 0.8842, 0.9063)},
                "posterior": {"dice": estimate(0.8672, 0.8551, 0.8794), "hd95": estimate(None)},
            },
            "subgroups": {
                "site=A": {"cases": 21, "dice": estimate(0.8934, 0.8715, 0.9136), "hd95": estimate(1.1)},
                "site=B": {"cases": 31, "dice": estimate(0.8511, 0.8222, 0.8773), "hd95": estimate(1.9)},
            },
            "baselines": [
                {"name": "intensity threshold", "scores": {"dice": estimate(0.3126, 0.2817, 0.3428)}},
                {"name": "mean mask", "scores": {"dice": estimate(0.6019, 0.5811, 0.6232), "hd95": estimate(4.15)}},
            ],
        }},
    }  # fmt: skip


@pytest.fixture
def content(metrics: dict[str, Any]) -> Content:
    options = {"classes": {"1": "anterior", "2": "posterior"}}
    inputs = [{"name": "image", "kind": "image", "columns": ["image"]}]
    targets = [{"name": "label", "kind": "mask", "columns": ["label"], "options": options}]
    return Content(
        task={
            "name": "hippocampus", "title": "Hippocampus in T1 MRI", "notes": ["Crops from one centre."],
            "data": "msd-hippocampus", "inputs": inputs, "targets": targets,
        },
        plan={
            "network": "unet", "budget": "300 s", "split": "by patient",
            "frames": {"space": {
                "spacing_mm": [1.0, 1.0, 1.25], "patch": [40, 56, 48],
                "images": {"image": {"normalise": {"way": "z-score"}}},
            }},
            "training": {"batch": 2, "patch": [8, 8, 8]},
            "reasons": {
                "network": "the default for these kinds",
                "space": {
                    "spacing": "the median spacing", "patch": "near the median size",
                    "normalise image": "arbitrary units", "warning: class posterior": "only 2 cases show it",
                },
                "training": {"batch": "many small steps"},
            },
        },
        metrics=metrics,
        history=[
            {"seconds": 20.0 * n, "step": 100 * n, "losses": {"dice": 1 / n, "cross_entropy": 0.5 / n},
             "score": None if n == 1 else 0.1 * n}
            for n in range(1, 9)
        ],
        provenance={"versions": {"torch": "2.14.1"}, "seed": 7, "device": "cpu, 2 threads", "task": "hippocampus"},
        pictures=[Picture("Best", "Dice 0.94", SVG), Picture("Worst", "Dice 0.71", SVG)],
        data={
            "cases": {"train": 160, "test": 52}, "patients": False, "fields": inputs + targets,
            "classes": {"label": {"anterior": 259, "posterior": 260}}, "licence": "CC-BY-SA 4.0",
        },
        red=["within-one-subject split"],
    )  # fmt: skip
