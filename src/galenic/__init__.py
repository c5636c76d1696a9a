"""galenic: deep learning for medicine in one tool. Columns in, columns out."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Answer": "galenic.core.contract",
    "GalenicError": "galenic.core.errors",
    "Geometry": "galenic.values",
    "Image": "galenic.values",
    "Mask": "galenic.values",
    "Model": "galenic.core.model",
    "Task": "galenic.core.task",
    "Text": "galenic.values",
    "check": "galenic.verbs",
    "demo": "galenic.demonstration",
    "evaluate": "galenic.verbs",
    "export": "galenic.verbs",
    "leave_out": "galenic.verbs",
    "load": "galenic.verbs",
    "predict": "galenic.verbs",
    "report": "galenic.verbs",
    "train": "galenic.verbs",
}

__all__ = sorted([*_WHERE, "__version__"])


class _Front(ModuleType):
    """Keeps the verbs: importing the folder `report` would else bind it over the verb of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _WHERE or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front


def __getattr__(name: str) -> Any:
    """Imported when first used, so that `galenic --help` need not wait for torch."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'galenic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
