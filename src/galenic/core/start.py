"""A training that starts from a file of weights made elsewhere, which no plan comes with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from galenic.core import bundle
from galenic.core.contract import NetworkPlug, Settings
from galenic.core.errors import ModelFolderError, PlanError
from galenic.core.network import Network


def suited(
    plug: NetworkPlug, source: Path | None, settings: Settings, reasons: Mapping[str, str]
) -> tuple[Settings, dict[str, str]]:
    """The planned settings, made those of the network whose weights a file holds; as they are without a file."""
    if source is None or not source.is_file():
        return settings, dict(reasons)
    like: Callable[[Mapping[str, Tensor], Settings], Settings] | None = getattr(plug, "like", None)
    if like is None:
        raise PlanError(f"the network {plug.name} from the file {source.name}", allowed="a model folder to start from")
    found = like(_weights_in(source), settings)
    changed = {f"network.{key}": f"as in the weights of {source.name}" for key in found if found[key] != settings[key]}
    return found, {**reasons, **changed}


def adopted(network: Network, source: Path) -> dict[str, Tensor]:
    """The weights of a file under the network's own names."""
    adopt: Callable[[dict[str, Tensor]], dict[str, Tensor]] = getattr(network, "adopt", dict)
    return adopt(_weights_in(source))


def _weights_in(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors":
        raise ModelFolderError(
            f"{file} as weights to start from",
            allowed="a model folder, or a .safetensors file",
            todo="have it converted where it came from: a checkpoint of torch can run code when it is opened",
        )
    return bundle.load_weights(file)
