"""A training run on disk: one safetensors file, renamed into place, so that a kill leaves the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from galenic.core.errors import DigestError
from galenic.core.files import write_aside


@dataclass(frozen=True)
class Kept:
    """The moving average, the best weights so far, and the loop's numbers."""

    average: dict[str, Tensor]
    best: dict[str, Tensor]
    state: Mapping[str, Any]


def save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, kept: Kept) -> None:
    """Write all that a resumed training needs, whole or not at all."""
    tensors = {f"now.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in kept.average.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in kept.best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in state.items() if value is not None
        }
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with write_aside(path) as aside:
        save_file(plain, str(aside), metadata={"state": json.dumps(kept.state)})


def load(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Kept | None:
    """Put the checkpoint into network and optimizer; None if there is none. DigestError if it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise DigestError(
            f"the checkpoint {path} is damaged: {error}", todo="delete it and train again without --resume"
        ) from error

    def part(name: str) -> dict[str, Tensor]:
        return {key[len(name) + 1 :]: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}

    network.load_state_dict(part("now"))
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in part("optimizer").items():
        number, name = key.split(".", 1)
        states.setdefault(int(number), {})[name] = _laid_out(tensor, parameters[int(number)])
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    now = network.state_dict()
    average, best = (
        {name: _laid_out(tensor, now[name]) for name, tensor in part(kept).items()} for kept in ("average", "best")
    )
    return Kept(average, best, state)


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """Tensors of the same shape get the same memory layout: another one is slower, and may round otherwise."""
    if tensor.shape != like.shape:
        return tensor
    return torch.empty_like(like, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
