"""What logs are read with: given now, or found again by its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from platform_lib.catalog.model import UsedDatabase, UsedOptions
from platform_lib.errors import ConfigError
from platform_lib.lake.intake import ReadOptions
from platform_lib.logs.bus.database import database_files, split_tie
from platform_lib.logs.mdf_clock import parse_zone
from platform_lib.storage import sha256_file

NONE_SHA256 = hashlib.sha256(b"").hexdigest()
"""Digest of no database and no time zone."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Options as a reader takes them, and as the catalogue keeps them."""

    read: ReadOptions
    used: UsedOptions
    sha256: str

    @property
    def any(self) -> bool:
        """Whether they have a say in what a log gives."""
        return self.sha256 != NONE_SHA256

    def recovering(self, *, recover: bool) -> Chosen:
        """Return the same, taking what is whole of damaged logs or not."""
        return replace(self, read=replace(self.read, recover=recover))


def choose(dbc: Sequence[str], *, recover: bool, timezone: str | None) -> Chosen:
    """Look at options as the command line gives them; the digest is over the databases' content.

    Raises:
        ConfigError: A database does not exist, or there is no such zone.
    """
    named = database_files(dbc)
    databases = []
    for text in named:
        kind, bus, path, cluster = split_tie(text)
        if not path.is_file():
            raise ConfigError("no such CAN database", where=path, remedy="name a .dbc file, or CAN2=body.dbc")
        tie = "" if (kind, bus) == ("CAN", 0) else f"{kind}{bus or ''}"
        tied = f"{tie}#{cluster}" if cluster else tie
        databases.append(UsedDatabase(tied, sha256_file(path), str(path.resolve())))
    if timezone is not None:
        parse_zone(timezone)  # a name that no log asks for is wrong all the same
    read = ReadOptions(dbc=named, recover=recover, timezone=timezone)
    return Chosen(read, UsedOptions(tuple(databases), timezone), _digest(databases, timezone))


def find_again(known: Mapping[str, UsedOptions], options_sha256: str) -> Chosen | str:
    """Find what logs were read with before, or say what of it is missing."""
    if options_sha256 == NONE_SHA256:
        return choose((), recover=False, timezone=None)
    used = known.get(options_sha256)
    if used is None:
        return "it is not known with which CAN databases it was read; name them with --dbc"
    for item in used.databases:
        path = Path(item.path)
        if not path.is_file() or sha256_file(path) != item.sha256:
            return (
                f"the CAN database {item.path} that it was read with is no longer there as it was; name it with --dbc"
            )
    dbc = tuple(_as_named(item) for item in used.databases)
    return Chosen(ReadOptions(dbc=dbc, timezone=used.timezone), used, options_sha256)


def completed(chosen: Chosen, known: Mapping[str, UsedOptions], options_sha256: str) -> Chosen | str:
    """Fill in what `chosen` leaves open, databases or zone, with what a log was read with before.

    Returns:
        What to read it with now; or what of that is missing.
    """
    if chosen.used.databases and chosen.used.timezone is not None:
        return chosen
    before = find_again(known, options_sha256)
    if not chosen.any or (isinstance(before, str) and not chosen.used.databases):
        return before
    used = known.get(options_sha256, UsedOptions((), None))
    timezone = used.timezone if chosen.used.timezone is None else chosen.used.timezone
    if chosen.used.databases or isinstance(before, str):
        named, databases = chosen.read.dbc, chosen.used.databases
    else:
        named, databases = before.read.dbc, before.used.databases
    read = ReadOptions(dbc=named, recover=chosen.read.recover, timezone=timezone)
    return Chosen(read, UsedOptions(databases, timezone), _digest(databases, timezone))


def _as_named(item: UsedDatabase) -> str:
    tie, sign, cluster = item.bus.partition("#")
    return f"{tie or 'CAN'}={item.path}{sign}{cluster}"


def _digest(databases: Sequence[UsedDatabase], timezone: str | None) -> str:
    if not databases and timezone is None:
        return NONE_SHA256
    parts = sorted([item.bus, item.sha256] for item in databases)
    return hashlib.sha256(json.dumps([parts, timezone]).encode()).hexdigest()
