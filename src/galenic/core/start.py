"""Where a training starts from: another model folder, or a file of weights that was made elsewhere."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from galenic.core import bundle
from galenic.core.contract import NetworkPlug, Settings
from galenic.core.errors import ModelFolderError, PlanError
from galenic.core.network import Network
from galenic.core.plan import Plan, load_plan
from galenic.core.progress import Progress


def plan_of(source: Path | None) -> Plan | None:
    """The plan of a model folder, whose frames and network are taken over; None for a file of weights."""
    if source is None or source.is_file():
        return None
    bundle.verify(source)
    return load_plan(source / "plan.json")


def suited(plug: NetworkPlug, source: Path | None, settings: Settings) -> tuple[Settings, dict[str, str]]:
    """The planned settings, made those of the network whose weights a file holds; as they are without a file."""
    if source is None or not source.is_file():
        return settings, {}
    like = getattr(plug, "like", None)
    if like is None:
        raise PlanError(f"the network {plug.name} from the file {source.name}", allowed="a model folder to start from")
    return like(_weights_in(source), settings), {
        "network.weights": f"depth, widths, stem and norm are those of the weights in {source.name}"
    }


def take_weights(network: Network, source: Path, progress: Progress) -> None:
    """Start from another model's weights wherever name and shape agree."""
    own = network.state_dict()
    if source.is_file():
        given = _weights_in(source)
        given = network.adopt(given) if hasattr(network, "adopt") else given
    else:
        path = source / bundle.weights_name(0, 1)
        given = bundle.load_weights(path if path.is_file() else source / bundle.weights_name(0, 2))
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise PlanError(f"no weight of {source} fits this network", todo="fine-tune from a model of the same task")
    network.load_state_dict({**own, **fitting})
    progress.say(f"{len(fitting)} of {len(own)} tensors taken from {source.name}")


def _weights_in(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors":
        raise ModelFolderError(
            f"{file} as weights to start from",
            allowed="a model folder, or a .safetensors file",
            todo="have it converted where it came from: a checkpoint of torch can run code when it is opened",
        )
    return bundle.load_weights(file)
