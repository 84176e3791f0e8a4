"""What streams are by their logs' own word, and the versions of it that are known (pure).

A version is known within a *scope*: vehicles whose streams of one name have to be the same (`docs/reference/lake.md`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

CONTRACT_SCOPE, VEHICLE_SCOPE = "contract:", "vehicle:"
Cause = Literal["first", "compatible", "contract", "reader", "accepted"]


@dataclass(frozen=True, slots=True)
class StreamField:
    """One field of a message, one column of a channel group.

    Attributes:
        name: Members are dotted; of a list of records ``list[].member``.
        type: Its Arrow type in the log; ``double[4]`` for arrays, ``double[]`` for lists.
        unit: None where the log names none.
    """

    name: str
    type: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class StreamSchema:
    """What a log says that one of its streams is.

    Attributes:
        stream: Its name in the log.
        name: The name that it is known by from log to log.
        kept_as: ``signals`` or ``samples``.
        message_type: None where the log names none.
        definition_sha256: Digest of a definition that no reader decodes, so that its fields are not known.
        reader: Which reader told the types: another one may tell the same columns otherwise.
    """

    stream: str
    name: str
    kept_as: str
    message_type: str | None
    fields: tuple[StreamField, ...]
    definition_sha256: str | None
    reader: str

    @property
    def sha256(self) -> str:
        """Digest of all that makes it another schema; the order of fields and the reader have no say."""
        rows = sorted([item.name, item.type, item.unit] for item in self.fields)
        told = json.dumps([self.kept_as, self.message_type, self.definition_sha256, rows])
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """A schema that rows were taken in with.

    Attributes:
        scope: ``contract:ID`` or ``vehicle:NAME``.
        version: 1 for the first of its scope and stream.
        cause: Why it was taken in: the first one; a compatible change; a contract states it; another reader tells the
            same logs so; or somebody accepted it.
        changes: What is other than in the version before, one sentence each.
    """

    scope: str
    version: int
    schema: StreamSchema
    cause: Cause
    changes: tuple[str, ...] = ()
