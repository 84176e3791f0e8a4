"""One parameter for many values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import any_, literal
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine


def any_of(values: Sequence[Any], kind: TypeEngine[Any]) -> Any:
    """Give a column something to equal: any of these, as one parameter (a statement takes 65,535)."""
    return any_(literal(list(values), postgresql.ARRAY(kind)))
