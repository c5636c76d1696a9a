"""Which device: the one asked for, a GPU for each process of torchrun, and never a traceback of torch's."""

from __future__ import annotations

import pytest
import torch
from torch import distributed

from galenic.core import ranks
from galenic.core.errors import InputError
from galenic.core.probe import pick_device


@pytest.fixture
def machine(monkeypatch):
    """A machine of so many GPUs, and this process as torchrun's `own` of `beside` there."""

    def set_up(gpus: int, own: int | None = None, beside: int | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        for name, value in (("LOCAL_RANK", own), ("LOCAL_WORLD_SIZE", beside), ("WORLD_SIZE", beside)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, str(value))

    return set_up


class TestAlone:
    @pytest.mark.parametrize(
        ("gpus", "wanted", "picked"),
        [(0, "auto", "cpu"), (0, "cpu", "cpu"), (2, "auto", "cuda"), (2, "cpu", "cpu"), (2, "cuda:1", "cuda:1")],
    )
    def test_what_is_asked_for(self, machine, gpus, wanted, picked):
        machine(gpus)
        assert pick_device(wanted) == torch.device(picked)

    @pytest.mark.parametrize(
        ("gpus", "wanted", "allowed"),
        [
            (0, "foo", "auto, cpu"), (0, "", "auto, cpu"), (0, "cuda", "auto, cpu"), (0, "meta", "auto, cpu"),
            (2, "cuda:2", "auto, cpu, cuda, cuda:0, cuda:1"), (1, "cuda:x", "auto, cpu, cuda, cuda:0"),
        ],
    )  # fmt: skip
    def test_what_is_not_here_is_told_with_what_is(self, machine, gpus, wanted, allowed):
        machine(gpus)
        with pytest.raises(InputError, match="which is not here") as told:
            pick_device(wanted)
        assert told.value.allowed == allowed
        assert told.value.exit_status == 2


class TestTorchrun:
    def test_each_process_has_a_gpu_of_its_own(self, machine):
        for own in range(3):
            for wanted in ("auto", "cuda"):
                machine(3, own, 3)
                assert pick_device(wanted) == torch.device("cuda", own)

    def test_on_the_cpu_they_share_it(self, machine):
        machine(0, 1, 2)
        assert pick_device("auto") == torch.device("cpu")
        machine(2, 3, 4)
        assert pick_device("cpu") == torch.device("cpu")

    @pytest.mark.parametrize(("gpus", "wanted", "beside"), [(2, "cuda", 3), (2, "auto", 3), (2, "cuda:1", 2)])
    def test_more_processes_than_gpus_are_refused_by_all(self, machine, gpus, wanted, beside):
        for own in range(beside):
            machine(gpus, own, beside)
            with pytest.raises(InputError, match=f"{beside} processes") as told:
                pick_device(wanted)
            assert f"--nproc-per-node {gpus}" in told.value.todo

    def test_one_process_a_machine_may_name_its_gpu(self, machine):
        machine(2, 0, 1)
        assert pick_device("cuda:1") == torch.device("cuda", 1)
        assert pick_device("cuda") == torch.device("cuda", 0)

    def test_a_launcher_that_tells_the_own_number_alone(self, machine):
        machine(2, 1)
        assert pick_device("auto") == torch.device("cuda", 1)

    def test_the_group_speaks_by_the_own_gpu(self, machine, monkeypatch):
        """Else every rank would send its decisions by way of the first GPU."""
        machine(2, 1, 2)
        done = []
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(("set", str(device))))
        monkeypatch.setattr(
            distributed, "init_process_group", lambda backend, device_id=None: done.append((backend, str(device_id)))
        )
        ranks.begin(pick_device("auto"))
        ranks.begin(torch.device("cpu"))
        assert done == [("set", "cuda:1"), ("nccl", "cuda:1"), ("gloo", "None")]
