"""The nouns of a drive log: stream, report, window, and what every format's reader offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["signal", "message", "can"]
Reader = Literal["fast", "reference"]

TIMESTAMP = "timestamp_ns"
PUBLISH = "publish_ns"
DATA = "data"
BATCH_ROWS = 65_536
BATCH_BYTES = 64 << 20


Span = tuple[int, int]
"""Earliest time and one past the latest, nanoseconds."""


@dataclass(frozen=True, slots=True, init=False)
class Stream:
    """One sequence of timestamped rows of a log.

    Attributes:
        name: Unique in its log: MDF ``"<index>:<acquisition name>"``, a topic's own name, ``"CAN1/<message>"``.
        kind: ``signal`` (a channel group, a decoded bus message), ``message`` (a topic), ``can`` (raw frames).
        schema: The Arrow schema of ``read(name)``; its first column is ``timestamp_ns`` (int64). A unit is in
            the field metadata ``unit``.
        rows: How many rows there are, exactly.
        message_type: ``sensor_msgs/msg/Imu`` and the like, where the log names one.
        schema_text: The message definition that the log carries, for `decode_cdr`.
        raw_frames: Whether rows of unrelated periods share it: frames as a bus logger recorded them, also in a topic.
    """

    name: str
    kind: Kind
    schema: pa.Schema
    rows: int
    message_type: str | None
    schema_text: str | None
    raw_frames: bool
    _span: list[Span | None] = field(repr=False, compare=False)
    _find_span: Callable[[], Span | None] | None = field(repr=False, compare=False)

    def __init__(
        self,
        name: str,
        kind: Kind,
        schema: pa.Schema,
        rows: int,
        message_type: str | None = None,
        schema_text: str | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        find_span: Callable[[], Span | None] | None = None,
        *,
        raw_frames: bool = False,
    ) -> None:
        """Describe a stream; `find_span` stands for times that are only looked for when somebody asks."""
        known = [] if find_span is not None else [None if start_ns is None or stop_ns is None else (start_ns, stop_ns)]
        frames = raw_frames or kind == "can"
        values = (name, kind, schema, rows, message_type, schema_text, frames, known, find_span)
        for key, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, key, value)

    @property
    def start_ns(self) -> int | None:
        """The earliest timestamp, ``None`` without rows. Some formats read the stream's times to know it."""
        span = self._times()
        return None if span is None else span[0]

    @property
    def stop_ns(self) -> int | None:
        """One past the latest timestamp (windows are half-open), ``None`` without rows."""
        span = self._times()
        return None if span is None else span[1]

    def _times(self) -> Span | None:
        if not self._span:
            self._span.append(None if self._find_span is None else self._find_span())
        return self._span[0]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that the recorder put into the log, beside its streams.

    Attributes:
        name: As recorded; it may hold a path of the recorder's machine, so never write to it unchecked.
        media_type: As recorded (``application/json``, ...); empty where the log does not say.
        size_bytes: Length of the content.
        load: Returns the content while the log is open. Raises `CorruptLog` where a checksum speaks against it.
        time_ns: When it was recorded, UTC; ``None`` where the log does not say.
    """

    name: str
    media_type: str
    size_bytes: int
    load: Callable[[], bytes] = field(repr=False, compare=False)
    time_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened while the log was recorded.

    Attributes:
        name: As recorded, ``""`` for none.
        kind: ``trigger``, ``marker``, ``recording``, ...
        range: ``point``, ``begin`` or ``end``.
        cause: ``tool``, ``user``, ...
        time_ns: When, UTC; ``None`` where it is placed by angle, distance or index.
        value: Its place on its own axis: seconds since the start, radians, metres or a row.
        comment: ``""`` for none.
    """

    name: str
    kind: str
    range: str
    cause: str
    time_ns: int | None
    value: float
    comment: str


@dataclass(slots=True)
class Report:
    """How sound a log is and how it was read. Complete once the log is open, but for what only reading can tell.

    Attributes:
        format: ``mcap``, ``mdf3``, ``mdf4``, ``rosbag1``, ``rosbag2-sqlite3``, ...
        readers: Stream name -> ``fast`` (this package's own reader) or ``reference`` (the format's library).
        reasons: Stream name -> why it is not read by this package's own reader.
        recovered: Whether damage was found and skipped (only with ``recover=True``).
        bytes_lost: File bytes that hold no row that could be returned, because of damage.
        problems: What is wrong or missing, one sentence each; empty for a sound log read in full.
        unsupported: Stream name -> why it is not decoded (its raw payload may still be readable).
        unverified: What no checksum of the file covers, so that a flipped bit there could not be noticed.
        notes: How something was read where there is a choice (J1939 frames matched by parameter group, ...).
        undecoded: Stream of raw bus frames -> how many of them no database explains, where databases were given.
    """

    format: str
    readers: dict[str, Reader] = field(default_factory=dict)
    recovered: bool = False
    bytes_lost: int = 0
    problems: list[str] = field(default_factory=list)
    unsupported: dict[str, str] = field(default_factory=dict)
    unverified: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    undecoded: dict[str, int] = field(default_factory=dict)

    def lose(self, count_bytes: int, problem: str) -> None:
        """Note damage that was skipped."""
        self.recovered = True
        self.bytes_lost += count_bytes
        self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open time range ``[start_ns, stop_ns)``; ``None`` is open-ended."""

    start_ns: int | None = None
    stop_ns: int | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.start_ns is None and self.stop_ns is None


class Source(Protocol):
    """What a format's reader offers to the door. Everything it raises is a `PlatformError`."""

    streams: tuple[Stream, ...]
    metadata: Mapping[str, str]
    report: Report
    attachments: tuple[Attachment, ...]

    def read(
        self, stream: Stream, window: Window, *, decode: bool, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the stream's rows in batches of at most `BATCH_ROWS`.

        `columns` says which columns are wanted, existing ones: a source may spare itself the others, or yield them too.
        """

    def close(self) -> None:
        """Release the file."""


@runtime_checkable
class OnePassSource(Source, Protocol):
    """A source that can read several streams in one pass."""

    def read_all(
        self, streams: Sequence[Stream], window: Window, *, decode: bool, columns: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[Stream, pa.RecordBatch]]:
        """Yield the rows of all `streams`, each stream's as `read` does; `columns` by the stream's name, where not all."""


def add_metadata(told: dict[str, str], more: Mapping[str, str]) -> None:
    """Add what a further record of a log says. The later one stands, but contradictions on personal data stay as such.

    Of two states that differ neither is believed: together they are none, which is taken as unknown.
    """
    states = [source["pii_state"] for source in (told, more) if "pii_state" in source]
    told.update(more)
    if len(set(states)) > 1:
        told["pii_state"] = " and ".join(states)


def unique(names: list[str], taken: tuple[str, ...] = ()) -> list[str]:
    """Make names unique: the second ``x`` becomes ``x#2``, the third ``x#3``, and so on, in order.

    Args:
        names: Names in file order.
        taken: Names that none of the results may have.
    """
    seen = set(taken)
    result: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate in seen:
            candidate, number = f"{name}#{number}", number + 1
        seen.add(candidate)
        result.append(candidate)
    return result
