"""The processes that generate one video together, as torchrun starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from videosieve.errors import ModelError
from videosieve.fields import Count, checked
from videosieve.generation.load import check_device


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that generate one video.

    Attributes:
        rank: 0 … count − 1; rank 0 writes and speaks.
        count: Processes.
        device: Where this one computes.
    """

    rank: int
    count: int
    device: str

    @property
    def speaks(self) -> bool:
        """Whether this is the process that writes files and says what was done."""
        return self.rank == 0


@contextmanager
def join_ranks(count: int | None, device: str = "auto") -> Iterator[Ranks]:
    """Take part in a group of processes while the block runs.

    Args:
        count: Processes over which attention heads are spread; None or 1 for this one alone.
        device: As in `load_pipeline`, without a number where there are several: each takes the one of its local rank.

    Yields:
        This process among them.

    Raises:
        ModelError: torchrun started another number of processes, or a device cannot be shared out.
    """
    started = _started()
    wanted = 1 if count is None else checked("ulysses", count, Count, ModelError)
    if wanted != started:
        told = f"torchrun started {started}" if started > 1 else "there is one"
        raise ModelError(
            f"--ulysses {wanted} needs {wanted} processes, and {told}; start them with "
            f"torchrun --nproc-per-node {max(wanted, started)} -m videosieve generate … "
            f"--ulysses {max(wanted, started)}"
        )
    if wanted == 1:
        yield Ranks(0, 1, device)
        return
    from torch.distributed import destroy_process_group, get_rank, init_process_group

    place = _place(device)
    init_process_group("nccl" if place.startswith("cuda") else "gloo")
    try:
        yield Ranks(get_rank(), wanted, place)
    finally:
        destroy_process_group()


def _started() -> int:
    told = os.environ.get("WORLD_SIZE", "1")
    return int(told) if told.isdecimal() else 1


def _place(device: str) -> str:
    """The device of this process: a CUDA device of its own, or the CPU that all share."""
    import torch

    found = check_device(device)
    if found.index is not None:
        raise ModelError(f"with several processes each takes a device of its own, got {device!r}; give cuda")
    if found.type == "mps":
        if device != "auto":
            raise ModelError(
                "several processes cannot share one mps device; give cpu, or leave --ulysses out"
            )
        return "cpu"
    if found.type == "cpu":
        return "cpu"
    place = check_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    torch.cuda.set_device(place)
    return str(place)
