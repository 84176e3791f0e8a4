"""Chips of other makers, whose compilers are programs of theirs and not in the package index."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Door:
    """One compiler outside the package index.

    Attributes:
        maker: Whose chips.
        tool: Its program.
        package: What to install, and from whom.
        precisions: Which quantized precisions it can be asked for; ``fp16`` is always made beside them.
    """

    maker: str
    tool: str
    package: str
    precisions: tuple[str, ...]

    @property
    def missing(self) -> str:
        """What is said where it is not installed."""
        return f"{self.tool} is not available here: install {self.package}, or name it with --compiler"


@dataclass(frozen=True, slots=True)
class DoorTarget:
    """One chip behind a door.

    Attributes:
        capabilities: CUDA compute capabilities of the GPU, by which the program's own account tells it; none where it has none.
    """

    name: str
    door: Door
    capabilities: tuple[str, ...]


NVIDIA = Door(
    "NVIDIA",
    "trtexec",
    "TensorRT 10, from NVIDIA's own package index (developer.nvidia.com/tensorrt)",
    ("int8", "fp8"),
)
AIC100 = Door("Qualcomm Cloud AI 100", "qaic-exec", "the Cloud AI Apps SDK, from Qualcomm", ("int8",))
# By the beginning of the name. Source of the capabilities: developer.nvidia.com/cuda-gpus, read 2026-11-30; Thor's was 10.1
# until CUDA 13 called it 11.0.
_DOORS = {
    "orin": (NVIDIA, ("8.7",)),
    "thor": (NVIDIA, ("10.1", "11.0")),
    "xavier": (NVIDIA, ("7.2",)),
    "aic100": (AIC100, ()),
    "qaic": (AIC100, ()),
}


def door_target(name: str) -> DoorTarget | None:
    """Return a target that another maker's compiler serves, None if it is none of those."""
    plain = name.strip().lower()
    for start, (door, capabilities) in _DOORS.items():
        if plain.startswith(start):
            return DoorTarget(plain, door, capabilities)
    return None


def door_names() -> tuple[str, ...]:
    """Return the beginnings of names that are known."""
    return tuple(_DOORS)
