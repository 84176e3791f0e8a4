"""Reads what the estimate is made of: the plan, manifests, the usage file, budgets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cost.plan.karpenter import KIND as NODE_POOL
from cost.plan.karpenter import pools_of
from cost.plan.model import Json, Resource
from cost.plan.resources import Place, StackSides, sides_of
from platform_lib.errors import ConfigError

_FORMAT = "drivetrain-plan/1"
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """A plan's file.

    Attributes:
        environment: Its environment; empty for a plan that Terraform wrote itself.
        stacks: Each stack's two sides.
    """

    environment: str
    stacks: tuple[StackSides, ...]

    @property
    def resources(self) -> Iterator[Resource]:
        """Everything on either side."""
        for stack in self.stacks:
            yield from stack.before
            yield from stack.after


def read_plan(path: Path, *, region: str | None = None) -> ReadPlan:
    """Read `plan.json`, or one stack's plan as `terraform show -json` writes it.

    Args:
        path: The file.
        region: Where a plan of Terraform's own lies, should its provider not say.

    Raises:
        ConfigError: It is missing, or no plan.
    """
    document = _json(path)
    try:
        if document.get("format") == _FORMAT:
            return ReadPlan(str(document["environment"]), tuple(_stacks(document["stacks"])))
        return ReadPlan("", (sides_of(document, Place(region=region)),))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"is no plan: {error}", where=path, remedy="plan with `make plan`, or write one with `terraform show -json`"
        ) from error


def _stacks(stacks: Json) -> Iterator[StackSides]:
    for name, stack in stacks.items():
        place = Place(name, str(stack["account"]), str(stack["region"]))
        made = sides_of(stack["terraform"], place)
        further = stack.get("not_emulated")
        if further is None:
            yield made
            continue
        # What an emulator lacks is planned apart and never applied; a real account would pay for it all the same.
        known = {item.address for item in made.after}
        beside = [item for item in sides_of(further, place).after if item.address not in known]
        yield StackSides(made.before, (*made.after, *beside))


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError("the plan cannot be read", where=path, remedy="make one: make plan") from error
    except ValueError as error:
        raise ConfigError(f"is no JSON: {error}", where=path, remedy="plan again: make plan") from error
    if not isinstance(document, dict):
        raise ConfigError("is no plan: not an object", where=path, remedy="plan again: make plan")
    return document


def read_pools(folder: Path | None, plan: ReadPlan) -> tuple[Resource, ...]:
    """Return Karpenter's node pools out of a folder of manifests, a folder a region below it or none.

    Without a folder, a plan with a cluster has one entry that says what is missing.

    Raises:
        ConfigError: The folder cannot be read, or a file is no YAML.
    """
    accounts = {item.region: item.account for item in plan.resources if item.kind == "aws_eks_cluster"}
    if folder is None:
        return tuple(_missing(plan.resources))
    if not folder.is_dir():
        raise ConfigError(
            "there is no such folder of manifests",
            where=folder,
            remedy="write them: drivetrain infra manifests --env ENV --out FOLDER",
        )
    found = pools_of(_manifests(folder))
    return tuple(replace(item, account=accounts.get(item.region, "")) for item in found)


def _missing(resources: Iterable[Resource]) -> Iterator[Resource]:
    done = set()
    for item in resources:
        if item.kind == "aws_eks_cluster" and (item.stack, item.address) not in done:
            done.add((item.stack, item.address))
            yield replace(item, address=f"NodePool/* of {item.address}", kind=NODE_POOL, values={}, tags={})


def _manifests(folder: Path) -> Iterator[tuple[str | None, Json]]:
    for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        inner = path.relative_to(folder).parts
        region = inner[0] if len(inner) > 1 and inner[0].count("-") >= 2 else None
        try:
            documents = list(yaml.safe_load_all(path.read_bytes()))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError("a manifest cannot be read", where=path, remedy="render the manifests again") from error
        for document in documents:
            if isinstance(document, dict):
                yield region, document


def read_settings(path: Path, model: type[_Model]) -> _Model:
    """Read a YAML file of settings; a key that is not known is refused.

    Raises:
        ConfigError: It is missing, or not as the model wants it.
    """
    try:
        document = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError("the file cannot be read as YAML", where=path) from error
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{key}: {first['msg']}" if key else first["msg"], where=path) from error
