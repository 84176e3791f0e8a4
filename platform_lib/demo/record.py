"""What the demo's stages did in this home, so that one found up to date still says how long it took to make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from platform_lib.demo.runner import StageOutcome
from platform_lib.storage import publish_bytes

_OUTCOMES = TypeAdapter(tuple[StageOutcome, ...])


class Record:
    """A JSON file of outcomes, one a stage, written anew after each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes = {outcome.title: outcome for outcome in _read(path)}

    def add(self, outcome: StageOutcome) -> StageOutcome:
        """Keep an outcome and return it; a skipped one gets the time that making the same artefact took, if known."""
        before = self._outcomes.get(outcome.title)
        if outcome.skipped and before is not None and before.digest == outcome.digest:
            outcome = replace(outcome, made_in_s=before.made_in_s)
        self._outcomes[outcome.title] = outcome
        document = [item.as_json() for item in self._outcomes.values()]
        publish_bytes(self._path, (json.dumps(document, indent=2) + "\n").encode())
        return outcome


def _read(path: Path) -> tuple[StageOutcome, ...]:
    """Read what an earlier run wrote; a missing or foreign file tells nothing, and loses nothing but times."""
    try:
        return _OUTCOMES.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return ()
