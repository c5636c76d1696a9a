"""scikit-learn estimators on disk by skops: JSON and arrays, and never a type that is not on the closed list."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import skops.io

from galenic.core.errors import ModelFolderError
from galenic.core.files import write_aside

_MOST_BYTES = 2**31
_NODES = frozenset(
    {
        "DTypeNode", "DictNode", "JsonNode", "ListNode", "LossNode", "NdArrayNode", "ObjectNode",
        "RandomGeneratorNode", "TupleNode", "TypeNode",
    }
)  # fmt: skip

TRUSTED = frozenset(
    {
        "builtins.bool", "builtins.dict", "builtins.float", "builtins.int", "builtins.list", "builtins.str",
        "builtins.tuple",
        "numpy.bool", "numpy.dtype", "numpy.float32", "numpy.float64", "numpy.int32", "numpy.int64", "numpy.ndarray",
        "numpy.uint32", "numpy.uint64", "numpy.uint8", "numpy.random._generator.Generator",
        "sklearn._loss._loss.CyHalfBinomialLoss", "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss._loss.CyHalfSquaredError", "sklearn._loss.link.IdentityLink", "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink", "sklearn._loss.link.MultinomialLogit", "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss", "sklearn._loss.loss.HalfSquaredError",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.impute._base.MissingIndicator", "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression", "sklearn.linear_model._ridge.RidgeCV",
        "sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._label.LabelEncoder",
    }
)  # fmt: skip


def save(model: Any, path: Path) -> None:
    """Write an estimator, whole or not at all."""
    with write_aside(path) as aside:
        skops.io.dump(model, aside)


def load(path: Path) -> Any:
    """Read an estimator; ModelFolderError where the file is missing, damaged, too large or names another type."""
    try:
        strange = _strangers(path)
        if strange:
            raise ModelFolderError(
                f"{path} asks for {', '.join(strange[:5])}",
                allowed="estimators that galenic itself wrote",
                todo="do not use this model folder unless you know who changed it",
            )
        return skops.io.load(path, trusted=sorted(TRUSTED))
    except ModelFolderError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in skops, numpy or scikit-learn
        raise ModelFolderError(
            f"{path} can't be read: {error}", todo="train again, with the installed version of scikit-learn"
        ) from error


def _strangers(path: Path) -> list[str]:
    """Types and node types of the file that are not on the lists, found without building anything."""
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise ModelFolderError(f"{path} unpacks to more than 2 GiB", allowed="an estimator that galenic wrote")
        waiting: list[Any] = [json.loads(archive.read("schema.json"))]
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "__loader__" in node and node["__loader__"] not in _NODES:
                found.add(str(node["__loader__"]))
            if "__class__" in node or "__module__" in node:
                found.add(f"{node.get('__module__')}.{node.get('__class__')}")
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return sorted(name for name in found if name not in TRUSTED)
