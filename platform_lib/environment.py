"""Variables of other programs: what would steer the parts that a command starts is left out of its environment."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

JOB_VARIABLE = "DRIVETRAIN_JOB"
"""Set in what runs as a job of a cluster: that cluster's variables are its own, its token among them."""
_RAY = re.compile(r"RAY_.+")
# How, where and as whom clients connect: PGHOSTADDR, PGSERVICE, PGOPTIONS, ... Source: PostgreSQL 18, section 32.15.
_LIBPQ = re.compile(r"PG[A-Z_]+")
_OPENMP_THREADS = re.compile(r"[1-9][0-9]*(,[1-9][0-9]*)*")


def leave_out_foreign(environment: MutableMapping[str, str], *, own_server: bool) -> list[str]:
    """Delete variables that are meant for another Ray or another PostgreSQL, or that no program could read.

    Args:
        environment: Which.
        own_server: Whether the home's own PostgreSQL is used; for one elsewhere its clients' variables count.

    Returns:
        The names of those that were there.
    """
    found = [
        name
        for name, value in environment.items()
        if (_RAY.fullmatch(name) and JOB_VARIABLE not in environment)
        or (own_server and _LIBPQ.fullmatch(name))
        or name == "PYTHONOPTIMIZE"  # it strips docstrings, which libraries add to
        or (name == "OMP_NUM_THREADS" and _OPENMP_THREADS.fullmatch(value) is None)
    ]
    for name in found:
        del environment[name]
    return found
