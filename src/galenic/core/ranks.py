"""The processes of torchrun: who is first, whose share is what, and agreeing on a decision."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def begin(device: torch.device) -> None:
    """Join the group that torchrun set up; nothing to do in a process of its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL sends what is no tensor by way of the current device
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")


def end() -> None:
    """Leave the group together: a rank that exits while another still holds the group's threads can end in an abort."""
    if distributed.is_initialized():
        gc.collect()  # DDP's reducer refers to the group in a circle
        distributed.barrier()
        distributed.destroy_process_group()


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def own() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def first() -> bool:
    return own() == 0


def share(items: Sequence[T]) -> list[T]:
    """This rank's items; shares differ by at most one."""
    return list(items[own() :: count()])


def anyone(said: bool) -> bool:
    """Whether any rank says so; every rank must ask."""
    if count() == 1:
        return said
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    votes = torch.tensor([int(said)], device=device)
    distributed.all_reduce(votes)
    return bool(votes.item())


def meet() -> None:
    """Wait until every rank has come here."""
    if count() > 1:
        distributed.barrier()


def agree(value: T) -> T:
    """The first rank's value, in every rank."""
    if count() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]
