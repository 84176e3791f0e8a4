"""Synthesised stacks, asked by kind and attribute: no test knows a generated id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdk.emulator import NOT_EMULATED
from cdk.model import Environment
from cdk.synthesis import synthesise
from cdk.wiring import StackWiring

Body = dict[str, Any]


@dataclass(frozen=True)
class Synthesised:
    """One environment's synthesis.

    Attributes:
        out: Its folder.
        environment: What was synthesised.
        wiring: What stacks take and give.
        documents: Terraform JSON of each stack, as it is applied.
        planned_only: Of an emulated environment, what is planned and validated only.
    """

    out: Path
    environment: Environment
    wiring: dict[str, StackWiring]
    documents: dict[str, Body]
    planned_only: dict[str, Body]

    def all_documents(self) -> Iterator[tuple[str, Body]]:
        """Give every document, with its name."""
        yield from self.documents.items()
        for name, document in self.planned_only.items():
            yield f"{NOT_EMULATED}/{name}", document

    def resources(self, kind: str, stack: str | None = None) -> list[Body]:
        """Return all resources of a kind, of one stack or of all."""
        chosen = self.documents if stack is None else {stack: self.documents[stack]}
        return [body for document in chosen.values() for body in document.get("resource", {}).get(kind, {}).values()]

    def one(self, kind: str, stack: str | None = None, **attributes: object) -> Body:
        """Return the one resource of a kind with these attributes."""
        found = [
            body
            for body in self.resources(kind, stack)
            if all(body.get(name) == value for name, value in attributes.items())
        ]
        assert len(found) == 1, f"{len(found)} of {kind} with {attributes}"
        return found[0]


def synthesise_into(out: Path, environment: Environment) -> Synthesised:
    """Synthesise an environment and read what was written."""
    wiring = synthesise(environment, out)
    return Synthesised(out, environment, wiring, _read(out / "stacks"), _read(out / NOT_EMULATED))


def _read(folder: Path) -> dict[str, Body]:
    return {path.parent.name: json.loads(path.read_bytes()) for path in sorted(folder.glob("*/cdk.tf.json"))}
