"""What a job asks for, against what there is: cores and GPUs of this machine, quotas of a cluster's queue, versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from platform_lib.errors import ConfigError
from ray_jobs.recipes.config import Processes
from ray_jobs.support_table import cuda_on_driver

_LEAST_FREE_BYTES = 2 << 30
_SUFFIXES = {
    "m": Decimal("0.001"),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, in words, and what speaks against a launch."""

    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def refuse(self, where: str) -> None:
        """Raise what speaks against it.

        Raises:
            ConfigError: Something does.
        """
        if self.problems:
            raise ConfigError(
                "; ".join(self.problems), where=where, remedy="ask for less in the recipe, or take another --cluster"
            )


def check_local(processes: Processes, home: Path) -> Checked:
    """Hold a request against this machine."""
    notes, problems = [], []
    cores, wanted = len(os.sched_getaffinity(0)), processes.count * processes.cpus
    notes.append(f"{processes.count} processes, {wanted} of {cores} cores")
    if wanted > cores:
        problems.append(f"{processes.count} processes want {wanted} cores, and this machine has {cores}")
    free = shutil.disk_usage(home).free
    notes.append(f"{free / 1e9:.0f} GB of disk free")
    if free < _LEAST_FREE_BYTES:
        problems.append(f"only {free / 1e6:.0f} MB of disk are free")
    if processes.gpu:
        _check_local_gpus(processes.count, notes, problems)
    if processes.placed_on is not None:
        problems.append(f"the recipe wants nodes with '{processes.placed_on}', which a local cluster has not")
    return Checked(tuple(notes), tuple(problems))


def _check_local_gpus(wanted: int, notes: list[str], problems: list[str]) -> None:
    drivers = _nvidia_drivers()
    if len(drivers) < wanted:
        problems.append(f"{wanted} GPUs are asked for, and this machine has {len(drivers)}")
        return
    import torch

    cuda = getattr(torch.version, "cuda", None)
    if cuda is None:
        problems.append(f"PyTorch {torch.__version__} is built without CUDA")
        return
    found = cuda_on_driver(cuda, drivers[0])
    (problems if found.fits is False else notes).append(found.text)


def _nvidia_drivers() -> list[str]:
    """Return the driver's version, once a GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    return done.stdout.split() if done.returncode == 0 else []


def check_quota(
    requests: Mapping[str, str], nodes: int, queue: str, flavor: str, queues: Sequence[Mapping[str, Any]]
) -> Checked:
    """Hold what workers ask for against Kueue's quotas of a flavour: the queue's own, and what it may borrow.

    Args:
        requests: What one worker asks for, by resource.
        nodes: Workers.
        queue: The cluster queue.
        flavor: The pool.
        queues: All cluster queues' manifests: what the others do not use is borrowed.
    """
    own = {queue_["metadata"]["name"]: _quotas(queue_, flavor) for queue_ in queues}
    notes, problems = [], []
    for resource, each in sorted(requests.items()):
        wanted = quantity(each) * nodes
        mine = own.get(queue, {}).get(resource, Decimal(0))
        all_ = sum((quotas.get(resource, Decimal(0)) for quotas in own.values()), Decimal(0))
        if wanted > all_:
            problems.append(
                f"{nodes} workers ask for {_told(wanted)} {resource} of '{flavor}', and all queues together have {_told(all_)}"
            )
        elif wanted > mine:
            notes.append(
                f"{_told(wanted)} {resource}: {queue} owns {_told(mine)} and has to borrow the rest while it is idle"
            )
        else:
            notes.append(f"{_told(wanted)} {resource} of the {_told(mine)} that {queue} owns")
    return Checked(tuple(notes), tuple(problems))


def quantity(text: str | int) -> Decimal:
    """Return a Kubernetes quantity as a number.

    Raises:
        ConfigError: It is none.
    """
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    try:
        if found is None or found[2] not in ("", *_SUFFIXES):
            raise InvalidOperation
        return Decimal(found[1]) * (_SUFFIXES[found[2]] if found[2] else 1)
    except InvalidOperation as error:
        raise ConfigError(f"'{text}' is no quantity", where="resources") from error


def _quotas(queue: Mapping[str, Any], flavor: str) -> dict[str, Decimal]:
    return {
        share["name"]: quantity(share["nominalQuota"])
        for group in queue["spec"]["resourceGroups"]
        for item in group["flavors"]
        if item["name"] == flavor
        for share in item["resources"]
    }


def _told(value: Decimal) -> str:
    return f"{value / 2**30:.0f} GiB" if value >= 2**30 else f"{value.normalize():f}"
