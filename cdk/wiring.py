"""What a stack takes from another: a typed variable, with a stand-in for a plan made before the other was applied.

Terraform's remote state would do it too, but a stack that reads it cannot be planned on a fresh account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, TypeAdapter, model_validator

from cdk.model import StandIn, Strict
from platform_lib.errors import ConfigError
from platform_lib.storage import publish_bytes

FILE = "wiring.json"


class Wire(Strict):
    """One value that goes from a stack to another.

    Attributes:
        variable: Terraform's name of it in the stack that takes it.
        stack: The stack that gives it.
        output: Terraform's name of it there.
        stand_in: A value of its form, for provisional plans.
    """

    variable: str
    stack: str
    output: str
    stand_in: StandIn


class StackWiring(Strict):
    """One synthesised stack.

    Attributes:
        account: Its account's id, 12 digits.
        region: Its region.
        takes: What it takes from others.
        gives: Names of its outputs.
    """

    account: str
    region: str
    takes: tuple[Wire, ...] = ()
    gives: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _stand_ins_differ(self) -> Self:
        """Two things of one stand-in could be swapped between approval and apply, and nobody would see it."""
        first: dict[str, str] = {}
        for wire in self.takes:
            for text in (wire.stand_in,) if isinstance(wire.stand_in, str) else wire.stand_in:
                if first.setdefault(text, wire.variable) != wire.variable:
                    raise ValueError(f"{first[text]} and {wire.variable} have one stand-in, {text}")
        return self

    @property
    def depends_on(self) -> tuple[str, ...]:
        """The stacks it takes from, sorted."""
        return tuple(sorted({wire.stack for wire in self.takes}))


Wiring = Annotated[dict[str, StackWiring], Field(min_length=1)]
_WIRING: TypeAdapter[dict[str, StackWiring]] = TypeAdapter(Wiring)


def write_wiring(folder: Path, wiring: Mapping[str, StackWiring]) -> None:
    """Write a synthesis's wiring into its folder."""
    publish_bytes(folder / FILE, _WIRING.dump_json(dict(sorted(wiring.items())), indent=2) + b"\n")


def read_wiring(folder: Path) -> dict[str, StackWiring]:
    """Read a synthesis's wiring.

    Raises:
        ConfigError: The folder holds no finished synthesis.
    """
    path = folder / FILE
    try:
        return _WIRING.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError("is no finished synthesis", where=path, remedy="synthesise it again: make plan") from error


def needed(wiring: Mapping[str, StackWiring], only: Sequence[str]) -> dict[str, StackWiring]:
    """Return the named stacks and all that they take from, in the order of `wiring`; all stacks where none is named.

    Raises:
        ConfigError: There is no such stack.
    """
    waiting = list(only or wiring)
    chosen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in wiring:
            raise ConfigError(f"there is no stack '{name}'", where="--only", remedy=f"take one of {', '.join(wiring)}")
        if name not in chosen:
            chosen.add(name)
            waiting += wiring[name].depends_on
    return {name: stack for name, stack in wiring.items() if name in chosen}


def apply_order(wiring: Mapping[str, StackWiring]) -> list[tuple[str, ...]]:
    """Return stacks in waves: those of one wave need nothing of each other, only of earlier ones.

    Raises:
        ConfigError: A stack takes from one that is not there or does not give it, or stacks wait for each other.
    """
    for name, stack in wiring.items():
        for wire in stack.takes:
            if wire.stack not in wiring or wire.output not in wiring[wire.stack].gives:
                raise ConfigError(
                    f"takes '{wire.output}' of stack '{wire.stack}', which does not give it",
                    where=name,
                    remedy="give it there, or take another",
                )
    sorter = TopologicalSorter({name: stack.depends_on for name, stack in sorted(wiring.items())})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(
            f"stacks wait for each other: {' -> '.join(error.args[1])}",
            where=FILE,
            remedy="take one of the values away",
        ) from error
    waves = []
    while sorter.is_active():
        ready = tuple(sorted(sorter.get_ready()))
        waves.append(ready)
        sorter.done(*ready)
    return waves


def destroy_order(wiring: Mapping[str, StackWiring]) -> list[str]:
    """Return the stacks in the order in which they are taken away: what others take from goes after them.

    The stacks that keep evidence (trail, configuration, alarms, guards) go last of all, so that taking away is recorded too.

    Raises:
        ConfigError: As of `apply_order`; or a stack of evidence takes from one that would be gone before it.
    """
    reverse = [name for wave in reversed(apply_order(wiring)) for name in reversed(wave)]
    order = [name for name in reverse if not _is_evidence(name)] + [name for name in reverse if _is_evidence(name)]
    place = {name: number for number, name in enumerate(order)}
    for name, stack in wiring.items():
        for other in stack.depends_on:
            if place[other] < place[name]:
                raise ConfigError(
                    f"keeps evidence and takes from '{other}', which is taken away before it",
                    where=name,
                    remedy="take that value from another stack of governance",
                )
    return order


def _is_evidence(stack: str) -> bool:
    return stack.startswith("governance-")
