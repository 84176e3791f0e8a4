"""The catalogue's lineage as OpenLineage run events: what every recorded artefact was made from.

Source: OpenLineage specification 2-0-2, RunEvent: a START and a COMPLETE event a run. An artefact is one run of the step
that makes its kind; its inputs and the artefact itself are datasets, named by digest, so that two homes that hold the
same content speak of the same datasets.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC
from importlib.metadata import version
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import Engine, select

from platform_lib.catalog.schema import ARTEFACTS, EDGES

NAMESPACE = "drivetrain"
SCHEMA_URL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_RUNS = uuid.UUID("5c0f7d1e-2b4b-4a53-9f0e-6d1a52c6f0a7")  # any constant of ours: the same artefact is the same run


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Named(_Part):
    """A job or a dataset; `facets` stays empty."""

    namespace: str = NAMESPACE
    name: str
    facets: dict[str, object] = Field(default_factory=dict)


class Run(_Part):
    """One making of an artefact."""

    run_id: uuid.UUID
    facets: dict[str, object] = Field(default_factory=dict)


class RunEvent(_Part):
    """That a run began, or ended."""

    event_type: Literal["START", "COMPLETE"]
    event_time: AwareDatetime
    run: Run
    job: Named
    inputs: tuple[Named, ...]
    outputs: tuple[Named, ...]
    producer: str
    schema_url: str = Field(SCHEMA_URL, alias="schemaURL")

    def to_json(self) -> str:
        """Return it as one line of JSON, in the names of the specification."""
        return self.model_dump_json(by_alias=True)


def run_events(engine: Engine) -> Iterator[RunEvent]:
    """Yield the events of every artefact with an input, in the order in which they were recorded."""
    producer = f"https://pypi.org/project/drivetrain/{version('drivetrain')}"
    with engine.connect() as connection:
        kinds = {row.sha256: row.kind for row in connection.execute(select(ARTEFACTS.c.sha256, ARTEFACTS.c.kind))}
        inputs: dict[str, set[str]] = {}
        for row in connection.execute(select(EDGES.c.sha256, EDGES.c.input_sha256)):
            inputs.setdefault(row.sha256, set()).add(row.input_sha256)
        made = connection.execute(select(ARTEFACTS).order_by(ARTEFACTS.c.recorded_utc, ARTEFACTS.c.sha256)).all()
    for row in made:
        if row.sha256 not in inputs:
            continue
        said = {
            "event_time": row.recorded_utc.astimezone(UTC),
            "run": Run(run_id=uuid.uuid5(_RUNS, row.sha256)),
            "job": Named(name=row.kind.replace(" ", "-")),
            "inputs": tuple(_dataset(kinds.get(item, "file"), item) for item in sorted(inputs[row.sha256])),
            "outputs": (_dataset(row.kind, row.sha256),),
            "producer": producer,
        }
        yield RunEvent(event_type="START", **said)
        yield RunEvent(event_type="COMPLETE", **said)


def _dataset(kind: str, sha256: str) -> Named:
    return Named(name=f"{kind.replace(' ', '-')}/{sha256}")
