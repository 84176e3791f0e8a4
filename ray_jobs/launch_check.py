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
from platform_lib.models.compiling import missing_for
from ray_jobs.recipes.config import Processes
from ray_jobs.support_table import cuda_of_pypi, gpu_of, installed_versions, least_driver, pairs_of

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


def check_local(processes: Processes, home: Path, *, compiled: bool = False) -> Checked:
    """Hold a request against this machine; `compiled` says that torch.compile is to make kernels here."""
    notes: list[str] = []
    problems: list[str] = []
    cores, wanted = len(os.sched_getaffinity(0)), processes.count * processes.cpus
    notes.append(f"{processes.count} processes, {wanted} of {cores} cores")
    if wanted > cores:
        problems.append(f"{processes.count} processes want {wanted} cores, and this machine has {cores}")
    free = shutil.disk_usage(home).free
    notes.append(f"{free / 1e9:.0f} GB of disk free")
    if free < _LEAST_FREE_BYTES:
        problems.append(f"only {free / 1e6:.0f} MB of disk are free")
    versions = installed_versions()
    if processes.gpu:
        versions |= _check_local_gpus(processes.count, notes, problems)
    _check_pairs(versions, notes, problems)
    missing = missing_for("cuda" if processes.gpu else "cpu") if compiled else None
    if missing is not None:
        problems.append(f"the recipe has `compiled=True`, and {missing}")
    if processes.placed_on is not None:
        problems.append(f"the recipe wants nodes with '{processes.placed_on}', which a local cluster has not")
    return Checked(tuple(notes), tuple(problems))


def _check_local_gpus(wanted: int, notes: list[str], problems: list[str]) -> dict[str, str]:
    """Hold a request against the GPUs here; return what versions they and PyTorch add to those that are installed."""
    gpus = _nvidia_gpus()
    if len(gpus) < wanted:
        problems.append(f"{wanted} GPUs are asked for, and this machine has {len(gpus)}")
        return {}
    import torch

    cuda = getattr(torch.version, "cuda", None)
    if cuda is None:
        problems.append(f"PyTorch {torch.__version__} is built without CUDA")
        return {}
    notes.append(f"{len(gpus)} GPUs of compute capability {gpus[0][1]}, driver {gpus[0][0]}")
    return {"cuda": str(cuda), "driver": gpus[0][0], "gpu": gpus[0][1]}


def _check_pairs(versions: Mapping[str, str], notes: list[str], problems: list[str]) -> None:
    found = pairs_of(versions)
    problems += [item.text for item in found if item.fits is False]
    notes += [item.text for item in found if item.fits is None]
    fitting = [item.text for item in found if item.fits]
    if fitting:
        notes.append(f"versions fit: {'; '.join(fitting)}")


def check_image(instance_types: Sequence[str], constraints: Path) -> Checked:
    """Hold what the image for GPUs is built with against a pool's GPUs.

    Args:
        instance_types: The pool's.
        constraints: The submitted code's list of versions, which the image is built from, with PyTorch's wheel of PyPI.
    """
    notes: list[str] = []
    problems: list[str] = []
    torch = _pinned(constraints, "torch")
    cuda = None if torch is None else cuda_of_pypi(torch)
    if torch is None or cuda is None:
        return Checked((f"PyTorch {torch or 'of no named version'}: with which CUDA it comes is unknown",), ())
    driver = least_driver(cuda) or "unknown"
    notes.append(
        f"PyTorch {torch} comes with CUDA {cuda}, which needs driver {driver} or newer; the nodes' comes with their machine image, "
        "which names none here: whether it fits is unknown"
    )
    for instance_type in instance_types:
        gpu = gpu_of(instance_type)
        if gpu is None:
            notes.append(f"which GPU a {instance_type} has is not in the table")
        else:
            _check_pairs({"torch": torch, "cuda": cuda, "gpu": gpu}, notes, problems)
    return Checked(tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(problems)))


def _pinned(constraints: Path, name: str) -> str | None:
    try:
        lines = constraints.read_text().splitlines()
    except OSError:
        return None
    found = [line.partition("==")[2].strip() for line in lines if line.partition("==")[0].strip() == name]
    return found[0].partition("+")[0] if found else None


def _nvidia_gpus() -> list[tuple[str, str]]:
    """Return each GPU's driver version and compute capability."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    if done.returncode != 0:
        return []
    found = [line.partition(",") for line in done.stdout.splitlines() if "," in line]
    return [(driver.strip(), capability.strip()) for driver, _, capability in found]


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
