"""`baseline.yaml`: findings that are accepted, each with its reason, its owner, and a day on which it is looked at again."""

from __future__ import annotations

from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from platform_lib.errors import ConfigError

FILE = Path(__file__).resolve().parent / "baseline.yaml"


class Accepted(BaseModel):
    """One accepted finding, of one check or of several that say the same.

    Attributes:
        checks: `CKV_AWS_60`, `CKV_DT_25`.
        environments: Where; `*` for all.
        stack: Whose; a pattern as of file names.
        address: The resource; a pattern as of file names.
        reason: Why it is right as it is.
        owner: Who answers for it.
        expires: Last day on which it counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    checks: Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^CKV2?_[A-Z]+_\d+$")], ...], Field(min_length=1)]
    environments: Annotated[tuple[str, ...], Field(min_length=1)]
    stack: str = "*"
    address: str
    reason: Annotated[str, StringConstraints(min_length=20)]
    owner: Annotated[str, StringConstraints(min_length=2)]
    expires: date

    @property
    def name(self) -> str:
        """Its checks, as text."""
        return ", ".join(self.checks)

    def covers(self, check: str, environment: str, stack: str, address: str) -> bool:
        """Whether this is about a finding, whatever the day."""
        return (
            check in self.checks
            and any(fnmatchcase(environment, item) for item in self.environments)
            and fnmatchcase(stack, self.stack)
            and fnmatchcase(address, self.address)
        )


class Baseline(BaseModel):
    """All accepted findings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: tuple[Accepted, ...] = ()


def read_baseline(path: Path = FILE) -> Baseline:
    """Read accepted findings.

    Raises:
        ConfigError: The file is not what a baseline is; nothing is accepted then, by mistake or not.
    """
    try:
        return Baseline.model_validate(yaml.safe_load(path.read_bytes()) or {})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"'{name}': {first['msg']}",
            where=path,
            remedy="an entry has checks, environments, address, reason, owner, expires, and stack where it is one alone",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: a day that no calendar has
        said = " ".join(str(error).split())
        raise ConfigError(f"is no YAML: {said}", where=path, remedy="mend it there") from error
    except OSError as error:
        raise ConfigError("cannot be read", where=path, remedy="check the installation") from error
