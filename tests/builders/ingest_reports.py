"""Reports of ingests that found nothing, but for what a test says."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from platform_lib.lake.lake import LakeVersion
from ray_jobs.ingest_report import IngestReport

_EMPTY: dict[str, Any] = {"int": 0, "float": 1.0, "LakeVersion": LakeVersion("0" * 64, 1, 1)}


def tiny_report(**given: Any) -> IngestReport:
    """Return a report of nothing, with these fields."""
    empty = {
        field.name: _EMPTY.get(str(field.type), {} if str(field.type).startswith("dict") else ())
        for field in fields(IngestReport)
    }
    return IngestReport(**(empty | given))
