"""Evidence as files: read whole or refused, published atomically."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from platform_lib.errors import IntegrityError, MissingPartError
from platform_lib.evidence.compiles import CompileReport
from platform_lib.evidence.evaluation import EvaluationReport
from platform_lib.evidence.gates import GateReport
from platform_lib.evidence.recall import BlurRecall
from platform_lib.refusals import first_problem
from platform_lib.storage import publish_bytes

_Evidence = TypeVar("_Evidence", EvaluationReport, CompileReport, GateReport, BlurRecall)


def read_evidence(kind: type[_Evidence], path: Path) -> _Evidence:
    """Read one evidence file.

    Raises:
        MissingPartError: The file does not exist.
        IntegrityError: It is not evidence of that kind and schema version.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingPartError(
            f"no {kind.__name__}", where=path, remedy="run the step that writes it, see `drivetrain --help`"
        ) from error
    except ValidationError as error:
        raise IntegrityError(
            f"not a valid {kind.__name__}: {first_problem(error)}",
            where=path,
            remedy="run the step that writes it again; evidence is not edited by hand",
        ) from error


def write_evidence(path: Path, evidence: EvaluationReport | CompileReport | GateReport | BlurRecall) -> None:
    """Publish one evidence file atomically."""
    publish_bytes(path, (evidence.model_dump_json(indent=2) + "\n").encode())
