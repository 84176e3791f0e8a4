"""Reading CAN databases (DBC, ARXML), and finding a frame's message in them.

A frame is matched by its exact identifier and its width (11 or 29 bit). Messages that their database declares as
SAE J1939 are matched by parameter group as well, whatever the priority, the sender and the receiver. Everything else is
in no database: it is counted, never guessed.
"""

from __future__ import annotations

import codecs
import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from platform_lib.errors import ConfigError
from platform_lib.logs.bus.layout import SOURCE_ADDRESS, BusKind, Message, Signal, parameter_group
from platform_lib.logs.model import TIMESTAMP, unique

_MOST_BITS = 64
_ARXML = ".arxml"
_SUFFIXES = (".dbc", _ARXML)
_FLOAT_BITS = (16, 32, 64)
_ANY_SENDER = 0xFE  # the J1939 null address: databases put it where every sender is meant
# The parser below lists every value of an extended multiplexer's ranges; 2^32 of them would take all memory.
_MOST_SELECTORS = 1 << 20
_SELECTORS = re.compile(r"^SG_MUL_VAL_[^;]*", re.MULTILINE)
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Match:
    """A message that a frame belongs to; `exact` unless it was found by parameter group."""

    message: Message
    exact: bool


@dataclass(frozen=True, slots=True)
class Database:
    """The messages of one file, for one bus or (`bus` 0) every bus of a kind; `problem`: what of it is not used."""

    kind: BusKind
    bus: int
    messages: tuple[Message, ...]
    problem: str | None = None
    name: str = ""


class Databases:
    """All databases that a log is read with."""

    def __init__(self, databases: Iterable[Database] = ()) -> None:
        self._databases = tuple(databases)
        self._by_bus: dict[tuple[BusKind, int], _Bus] = {}
        self.problems = [item.problem for item in self._databases if item.problem is not None]
        self.notes = _contradictions(self._databases)

    @classmethod
    def load(cls, dbc: Iterable[str], arxml: Iterable[str]) -> Databases:
        """Parse database files, each optionally tied to a bus: ``CAN2=file``, ``LIN1=file``, ``LIN=file``.

        A file without a tie is for every CAN bus. LIN needs its tie: its 6-bit identifiers would match any CAN file.
        Of an ARXML file with several clusters, one can be chosen: ``CAN2=file#cluster``. A folder stands for the
        databases in it (`database_files`). A file called ``.arxml`` is one, however it is given.

        Raises:
            ConfigError: A file is missing or is no database.
        """
        found = []
        named = [(item, ".dbc") for item in database_files(dbc)] + [(item, _ARXML) for item in database_files(arxml)]
        for text, suffix in named:
            bus_kind, bus, path, cluster = split_tie(text)
            kind = path.suffix.lower() if path.suffix.lower() in _SUFFIXES else suffix
            messages = [item for item in _messages(path, kind[1:]) if not cluster or item.cluster == cluster]
            if cluster and not messages:
                raise ConfigError(f"no cluster '{cluster}'", where=path, remedy="name a cluster of this file")
            found.append(Database(bus_kind, bus, *_unambiguous(path, messages), path.name))
        return cls(found)

    def covers(self, kind: BusKind) -> bool:
        """Whether any database is for this kind of bus."""
        return any(item.kind == kind for item in self._databases)

    @property
    def transported(self) -> bool:
        """Whether any message may come in several packets: SAE J1939's transport protocol."""
        return any(item.j1939 and item.length_bytes > 8 for found in self._databases for item in found.messages)

    def match(self, kind: BusKind, bus: int, frame_id: int, *, extended: bool) -> Match | None:
        """Return the message of an identifier on a bus; databases tied to the bus come first, then in given order."""
        if (kind, bus) not in self._by_bus:
            mine = [item for item in self._databases if item.kind == kind and item.bus in (0, bus)]
            self._by_bus[kind, bus] = _Bus.of(sorted(mine, key=lambda item: item.bus == 0))
        return self._by_bus[kind, bus].match(frame_id, extended=extended)


@dataclass(slots=True)
class _Bus:
    """What is known on one bus, by identifier and by parameter group."""

    exact: dict[tuple[int, bool], Message] = field(default_factory=dict)
    groups: dict[int, list[Message]] = field(default_factory=dict)

    @classmethod
    def of(cls, databases: list[Database]) -> _Bus:
        bus = cls()
        for message in (message for database in databases for message in database.messages):
            if bus.exact.setdefault((message.frame_id, message.extended), message) is message and message.j1939:
                bus.groups.setdefault(parameter_group(message.frame_id), []).append(message)
        return bus

    def match(self, frame_id: int, *, extended: bool) -> Match | None:
        message = self.exact.get((frame_id, extended))
        if message is not None:
            return Match(message, exact=True)
        candidates = self.groups.get(parameter_group(frame_id), []) if extended else []
        if len(candidates) > 1:  # several senders have their own layout of this group
            for sender in (frame_id & 0xFF, _ANY_SENDER):
                mine = [item for item in candidates if item.frame_id & 0xFF == sender]
                if mine:
                    return Match(mine[0], exact=False)
            return None
        return Match(candidates[0], exact=False) if candidates else None


def database_files(named: Iterable[str]) -> tuple[str, ...]:
    """Return what was named, each folder replaced by the ``.dbc`` and ``.arxml`` files in it, with the folder's tie.

    Raises:
        ConfigError: A folder holds none, or a name is empty.
    """
    found: list[str] = []
    for text in named:
        tie, sign, tail = text.partition("=")
        if not (tail if sign else text).strip():
            remedy = "name a .dbc or .arxml file, or a folder of them: --dbc vehicle.dbc, --dbc CAN2=body.dbc"
            raise ConfigError(f"a database without a name: '{text}'", where="--dbc or --arxml", remedy=remedy)
        folder = Path(tail if sign and not Path(text).exists() else text)
        if not folder.is_dir():
            found.append(text)
            continue
        files = sorted(item for item in folder.iterdir() if item.suffix.lower() in _SUFFIXES)
        if not files:
            remedy = "name a .dbc or .arxml file, or a folder that holds some"
            raise ConfigError("a folder without a CAN database", where=folder, remedy=remedy)
        found.extend(f"{tie}={item}" if folder == Path(tail) and sign else str(item) for item in files)
    return tuple(found)


def _contradictions(databases: Iterable[Database]) -> list[str]:
    """Say where two files for the same bus mean different messages by an identifier: the first one's is used."""
    first: dict[tuple[BusKind, int, int, bool], tuple[Message, Database]] = {}
    found: dict[tuple[str, str], int] = {}
    for database in databases:
        for message in database.messages:
            key = (database.kind, database.bus, message.frame_id, message.extended)
            known, owner = first.setdefault(key, (message, database))
            same_file = owner is database and known.cluster != message.cluster  # clusters are told apart elsewhere
            if not same_file and replace(known, cluster="") != replace(message, cluster=""):
                found[owner.name, database.name] = found.get((owner.name, database.name), 0) + 1
    return [
        f"identifiers that mean different messages within {one}: {count}; the first message counts"
        if one == other
        else f"identifiers that mean different messages in {one} and {other}: {count}; {one} counts; "
        f"CAN1={one} ties a database to its bus"
        for (one, other), count in found.items()
    ]


def split_tie(text: str) -> tuple[BusKind, int, Path, str]:
    """Return what bus (0: every one of its kind) a database is for, its file, and which cluster of it ("": all)."""
    head, sign, tail = text.partition("=")
    found: tuple[BusKind, int] = ("CAN", 0)
    kinds: tuple[BusKind, ...] = ("CAN", "LIN")
    for kind in kinds:
        number = head[3:]
        if sign and head[:3].upper() == kind and (not number or number.isdecimal()):
            found, text = (kind, int(number or 0)), tail
            break
    file, _, cluster = text.rpartition("#")
    if file and not Path(text).exists():
        return *found, Path(file), cluster
    return *found, Path(text), ""


def _unambiguous(path: Path, messages: list[Message]) -> tuple[tuple[Message, ...], str | None]:
    """Leave out identifiers that mean different messages in different clusters of one file."""
    meanings: dict[tuple[int, bool], set[Message]] = {}
    for message in messages:
        meanings.setdefault((message.frame_id, message.extended), set()).add(replace(message, cluster=""))
    clusters: dict[tuple[int, bool], set[str]] = {}
    for message in messages:
        clusters.setdefault((message.frame_id, message.extended), set()).add(message.cluster)
    unclear = {key for key, found in meanings.items() if len(found) > 1 and len(clusters[key]) > 1}
    kept = tuple(item for item in messages if (item.frame_id, item.extended) not in unclear)
    if not unclear:
        return kept, None
    names = ", ".join(sorted({message.cluster for message in messages}))
    return kept, (
        f"{path.name}: {len(unclear)} identifiers mean different messages in its clusters and are not decoded; "
        f"choose one (CAN1={path.name}#CLUSTER) of {names}"
    )


def _messages(path: Path, kind: str) -> tuple[Message, ...]:
    if path.suffix.lower() == ".ldf":
        remedy = "convert it to DBC or ARXML, and name that as LIN1=FILE"
        raise ConfigError("LIN description files (.ldf) are not read", where=path, remedy=remedy)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be opened ({error.strerror})", where=path, remedy="check the path") from error
    return _parsed(path, kind, hashlib.sha256(content).hexdigest())


@lru_cache(maxsize=16)
def _parsed(path: Path, kind: str, digest: str) -> tuple[Message, ...]:
    """Parse a file of that content; many logs are read with the same few databases."""
    del digest
    return tuple(_described(path, kind))


def _described(path: Path, kind: str) -> Iterator[Message]:
    database = _load(path, kind)
    attributes = database.dbc.attributes if database.dbc is not None else {}
    protocol = str(attributes["ProtocolType"].value) if "ProtocolType" in attributes else ""
    for message in database.messages:
        try:
            yield _message(message, j1939=protocol.upper() == "J1939", described=kind == "dbc")
        except ValueError as error:
            raise ConfigError(
                f"message '{message.name}' {error}", where=path, remedy="mend the CAN database"
            ) from error


def _load(path: Path, kind: str) -> Any:
    from cantools import database as cantools  # late: it brings half of the scientific stack with it

    try:
        encoding = None
        if kind == "dbc":
            content = path.read_bytes()
            encoding = _encoding(content)
            _check_selectors(content.decode(encoding, "replace"))
        # Overlapping signals occur in real databases and do no harm to decoding: not strict.
        return cantools.load_file(path, database_format=kind, encoding=encoding, strict=False, cache_dir=None)
    except OSError as error:
        raise ConfigError(f"cannot be opened ({error.strerror})", where=path, remedy="check the path") from error
    except (
        cantools.Error, ValueError, LookupError, AttributeError, TypeError, SyntaxError, AssertionError, OverflowError,
        MemoryError, RecursionError,
    ) as error:  # fmt: skip
        short = " ".join(str(error).split())
        told = f" ({short[:160]})" if short.isprintable() else ""  # of a binary file parsers quote what they met
        raise ConfigError(f"not a CAN database{told}", where=path, remedy="give a DBC or ARXML file") from error


def _encoding(content: bytes) -> str:
    """Return how a DBC is written, which it does not say: what is valid UTF-8 is that, all else Windows' Western code."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _check_selectors(text: str) -> None:
    for statement in _SELECTORS.finditer(text):
        for low, high in _RANGE.findall(statement[0].partition(" ")[2]):
            if int(high) - int(low) >= _MOST_SELECTORS:
                raise ValueError(f"a multiplexer range of {int(high) - int(low) + 1} values")


def _message(message: Any, *, j1939: bool, described: bool) -> Message:
    """Return a message; `described`: one without signals is meant so, and not a form that the parser passes over."""
    omitted = ["a container of several PDUs is not decoded"] if message.is_container else []
    if not (described or omitted or message.signals):
        omitted.append("nothing of it is decoded: a container with long headers, or a frame without signals")
    kept = []
    for signal in message.signals:
        if not 0 < signal.length <= _MOST_BITS or (signal.is_float and signal.length not in _FLOAT_BITS):
            number = "float" if signal.is_float else "value"
            omitted.append(f"signal '{signal.name}', a {number} of {signal.length} bits, is not decoded")
        else:
            kept.append(signal)
    kept = _with_parents(kept, omitted)
    places: dict[str, int] = {}
    for place, signal in enumerate(kept):
        places.setdefault(signal.name, place)
    names = unique([signal.name for signal in kept], taken=(TIMESTAMP, SOURCE_ADDRESS))
    return Message(
        name=message.name,
        frame_id=message.frame_id,
        extended=message.is_extended_frame,
        length_bytes=message.length,
        signals=tuple(_signal(signal, name, places) for signal, name in zip(kept, names, strict=True)),
        j1939=message.is_extended_frame and (j1939 or message.protocol == "j1939"),
        omitted=tuple(omitted),
        cluster=message.bus_name or "",
    )


def _with_parents(signals: list[Any], omitted: list[str]) -> list[Any]:
    """Leave out signals whose multiplexer is left out."""
    while True:
        names = {signal.name for signal in signals}
        kept = [signal for signal in signals if not _multiplexed(signal) or signal.multiplexer_signal in names]
        if len(kept) == len(signals):
            return kept
        lost = sorted({signal.name for signal in signals} - {signal.name for signal in kept})
        omitted.extend(f"signal '{name}' is not decoded: its multiplexer is not" for name in lost)
        signals = kept


def _multiplexed(signal: Any) -> bool:
    return bool(signal.multiplexer_signal) and signal.multiplexer_ids is not None


def _signal(signal: Any, name: str, places: dict[str, int]) -> Signal:
    scale, offset = float(signal.scale), float(signal.offset)
    if not (math.isfinite(scale) and math.isfinite(offset)):
        raise ValueError(f"has a signal '{name}' without a finite scale")
    big_endian = signal.byte_order == "big_endian"
    multiplexed = _multiplexed(signal)
    return Signal(
        name=name,
        start=8 * (signal.start // 8) + 7 - signal.start % 8 if big_endian else signal.start,
        length=signal.length,
        big_endian=big_endian,
        signed=bool(signal.is_signed) and not signal.is_float,
        floating=bool(signal.is_float),
        scale=scale,
        offset=offset,
        unit=signal.unit or "",
        choices=tuple((int(value), str(text)) for value, text in sorted((signal.choices or {}).items())),
        parent=places[signal.multiplexer_signal] if multiplexed else None,
        selected_by=_ranges(signal.multiplexer_ids) if multiplexed else (),
    )


def _ranges(values: list[int]) -> tuple[tuple[int, int], ...]:
    """Join whole numbers into inclusive ranges, ascending."""
    found: list[tuple[int, int]] = []
    for value in sorted(set(values)):
        if found and found[-1][1] + 1 == value:
            found[-1] = (found[-1][0], value)
        else:
            found.append((value, value))
    return tuple(found)
