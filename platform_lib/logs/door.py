"""`open_log`: tells a log's format by its first bytes, opens it with that format's reader, and guards the result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from platform_lib.errors import ConfigError, CorruptLog, PlatformError, UnsupportedLog
from platform_lib.logs.bytes_source import BAG_METADATA, located, open_file
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.model import TIMESTAMP, Attachment, Event, OnePassSource, Report, Source, Stream, Window
from platform_lib.logs.stream_names import hint, quoted

if TYPE_CHECKING:
    import pyarrow as pa

Item = TypeVar("Item")

READER_VERSION = "6"
"""Changes whenever the same bytes would give other rows; part of what the lake knows a file by."""

LOG_SUFFIXES = (".mf4", ".mdf", ".dat", ".mcap", ".db3", ".bag")
"""Suffixes by which `find_logs` finds loose files; what a file is, its content says."""

_MCAP_MAGIC = b"\x89MCAP0\r\n"
_SQLITE_MAGIC = b"SQLite format 3\x00"
_BAG1_MAGIC = b"#ROSBAG V"
_MDF_MAGICS = (b"MDF     ", b"UnFinMF ")
_SHOWN = 20
_FORMATS = "MDF 3/4, MCAP, ROS 2 .db3 and ROS 1 .bag are read; fetch the file again if it should be one of them"
_UNPACK = "unpack it, and name the log that is in it"
_DATABASE = "name the log, and this behind it: --dbc FILE, or --arxml FILE for an AUTOSAR description"
# What is taken for a log most often, by its first bytes.
_OTHERS = (
    (bytes(16), "nothing but zeros at its beginning", "fetch the file again from its source"),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (b"BZh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "compressed by xz", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"VERSION ", "a CAN database (DBC)", _DATABASE),
    (b"<?xml", "an XML document", _DATABASE),
    (b"LOGG", "a log of Vector's BLF format, which is not read", "convert it to MDF 4"),
    (b"PAR1", "a Parquet file", "read it with `pyarrow.parquet`"),
)
_MOST_TRIED_BYTES = 64 << 20  # of what is recovered to see whether there is anything to recover: a second
_NOTHING_WHOLE = "fetch the file again from its source: nothing in it can be read without what is damaged"


class Log:
    """An open drive log. Use it as a context manager.

    Attributes:
        path: The file or bag folder, or the ``s3://`` address as text.
        streams: What it holds, in file order.
        metadata: What the recorder wrote about the drive (vehicle, session, pii_state, ...), as text.
        attachments: Files that the recorder put into it; their content is read on demand.
        events: What happened while it was recorded, where the format keeps that.
        report: How sound it is, and how each stream is read.
    """

    def __init__(self, path: Path | str, source: Source) -> None:
        self.path = path
        self.streams: tuple[Stream, ...] = source.streams
        self.metadata: Mapping[str, str] = source.metadata
        self.attachments: tuple[Attachment, ...] = source.attachments
        self.events: tuple[Event, ...] = getattr(source, "events", ())
        self.report: Report = source.report
        self._source = source
        self._by_name = {stream.name: stream for stream in source.streams}
        self._closed = False

    def stream(self, name: str) -> Stream:
        """Return one stream.

        Raises:
            UnsupportedLog: The log holds that stream but it is not decoded, and why.
            ConfigError: The log has no stream of that name.
        """
        if name in self._by_name:
            return self._by_name[name]
        if name in self.report.unsupported:
            raise UnsupportedLog(
                f"stream {quoted(name)} is not readable: {self.report.unsupported[name]}",
                where=self.path,
                remedy="read the other streams; this one needs another tool",
            )
        remedy = hint(name, [*self._by_name, *self.report.unsupported])
        raise ConfigError(f"no stream {quoted(name)}", where=self.path, remedy=remedy)

    def read(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        decode: bool = True,  # noqa: FBT001, FBT002 - a stable public signature
    ) -> Iterator[pa.RecordBatch]:
        """Read one stream in bounded batches.

        Args:
            name: The stream.
            columns: Which columns, in this order; ``timestamp_ns`` always comes first. All by default.
            start_ns: Earliest timestamp, inclusive, UTC nanoseconds.
            stop_ns: Latest timestamp, exclusive.
            decode: For topics: ``False`` gives ``timestamp_ns``, ``publish_ns`` (null where the format has none)
                and the payload ``data`` (binary_view); ``True`` gives the message's fields in place of ``data``.

        Returns:
            Record batches of one schema, of at most 65,536 rows. Topics in time order (rows of equal time in file
            order), MDF groups and bus messages in recorded order. A stream without rows gives no batch.

        Raises:
            CorruptLog: The bytes contradict the format (also while iterating); what came before it is not to be kept.
            UnsupportedLog: The stream is not decoded.
            ConfigError: No such stream or column.
        """
        if self._closed:
            raise self._is_closed()
        stream = self.stream(name)
        wanted = None if columns is None else self._wanted(stream, columns, decode=decode)
        batches = self._source.read(stream, Window(start_ns, stop_ns), decode=decode, columns=wanted)
        return self._while_open(batches if wanted is None else (batch.select(wanted) for batch in batches))

    def _is_closed(self) -> ConfigError:
        return ConfigError("the log is closed", where=self.path, remedy="read inside `with open_log(...)`")

    def _while_open(self, items: Iterator[Item]) -> Iterator[Item]:
        """Pass on what is read; what goes wrong because another thread closed the log is no damage."""
        try:
            yield from items
        except Exception as error:
            if self._closed:
                raise self._is_closed() from error
            raise

    def read_all(
        self,
        names: Sequence[str] | None = None,
        *,
        columns: Mapping[str, Sequence[str]] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        decode: bool = True,
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Read several streams in one pass over the log: each part of it is fetched and decompressed once.

        A batch of payloads may share memory with the batches around it; it stays valid as long as it is held.

        Args:
            names: Which streams; all by default.
            columns: Stream name -> which of its columns, as in `read`; the streams that it does not name give all of
                theirs. Values that are not asked for are passed over, not copied: an image topic's headers cost little.
            start_ns: As in `read`.
            stop_ns: As in `read`.
            decode: As in `read`.

        Returns:
            Stream name and record batch, as `read` gives them, in any order of streams; the batches of one stream
            in that stream's order. Formats that keep streams apart give one stream after the other.

        Raises:
            CorruptLog: As in `read`.
            UnsupportedLog: As in `read`.
            ConfigError: As in `read`; or `columns` names a stream that is not read.
        """
        if self._closed:
            raise self._is_closed()
        streams = list(self.streams) if names is None else [self.stream(name) for name in dict.fromkeys(names)]
        wanted: dict[str, list[str]] = {}
        for stream, chosen in [(self.stream(name), chosen) for name, chosen in (columns or {}).items()]:
            if stream not in streams:
                what = f"columns of stream {quoted(stream.name)} are asked for, which is not read"
                raise ConfigError(what, where=self.path, remedy="name it among the streams, or leave its columns out")
            wanted[stream.name] = self._wanted(stream, chosen, decode=decode)
        return self._while_open(self._pass(streams, Window(start_ns, stop_ns), wanted, decode=decode))

    def _pass(
        self, streams: list[Stream], window: Window, wanted: Mapping[str, list[str]], *, decode: bool
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        for stream, batch in self._batches(streams, window, wanted, decode=decode):
            chosen = wanted.get(stream.name)
            yield stream.name, batch if chosen is None else batch.select(chosen)

    def _batches(
        self, streams: list[Stream], window: Window, wanted: Mapping[str, list[str]], *, decode: bool
    ) -> Iterator[tuple[Stream, pa.RecordBatch]]:
        if isinstance(self._source, OnePassSource):
            yield from self._source.read_all(streams, window, decode=decode, columns=wanted)
            return
        for stream in streams:
            for batch in self._source.read(stream, window, decode=decode, columns=wanted.get(stream.name)):
                yield stream, batch

    def _wanted(self, stream: Stream, columns: Sequence[str], *, decode: bool) -> list[str]:
        """Return the columns to give, the time first; refuse those that the stream does not have."""
        if isinstance(columns, str):
            what = f"the columns of stream {quoted(stream.name)} are one text, {columns!r}"
            raise ConfigError(what, where=self.path, remedy=f"give a list of names: columns=[{columns!r}]")
        wanted = list(dict.fromkeys((TIMESTAMP, *columns)))
        known = [*stream.schema.names] if decode or stream.kind != "message" else [TIMESTAMP, "publish_ns", "data"]
        missing = [column for column in wanted if column not in known]
        if missing:
            raise ConfigError(
                f"stream {quoted(stream.name)} has no column '{missing[0]}'",
                where=self.path,
                remedy=f"it has: {', '.join(known[:_SHOWN])}{', ...' if len(known) > _SHOWN else ''}",
            )
        return wanted

    def close(self) -> None:
        """Release the file; batches already read stay valid."""
        self._closed = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_log(
    path: str | Path,
    dbc: str | Path | Iterable[str | Path] = (),
    arxml: str | Path | Iterable[str | Path] = (),
    recover: bool = False,  # noqa: FBT001, FBT002 - a stable public signature
    *,
    timezone: str | None = None,
) -> Log:
    """Open a drive log of any known format; its content is checked as far as the format has checksums.

    Clock: topics carry the recorder's log time. MDF rows are the header's start time plus the group's time channel,
    in UTC nanoseconds, rounded half to even. MDF 3 files without a zone are refused unless `timezone` is given.
    An MDF 4 header that says "local time, no zone" is taken as UTC unless `timezone` is given; the report says so.

    Args:
        path: A file, a ROS 2 bag folder with ``metadata.yaml``, or ``s3://bucket/key`` of either, of which only the parts
            that are needed are fetched (credentials and endpoint as for every AWS tool, by its environment variables);
            of sqlite3 files a temporary copy is made.
        dbc: CAN databases, or folders of them, or one of either. Frames recorded by an MDF bus logger become streams
            ``CAN<bus>/<message>``, beside the raw ones. ``"CAN2=body.dbc"`` ties a database to one bus; without it, it is used for every CAN bus.
            ``"LIN1=doors.dbc"`` (``"LIN=..."`` for all) decodes LIN frames, as ``LIN1/<message>``.
        arxml: The same as AUTOSAR system descriptions; ``"CAN1=system.arxml#cluster"`` takes one cluster of several.
        recover: Return what is whole of a damaged log and say in `Log.report` what was lost. Otherwise damage raises.
        timezone: IANA name or ``+HH:MM`` for MDF headers that carry local time only.

    Raises:
        CorruptLog: The content contradicts its format; with `recover`, nothing at all is readable.
        UnsupportedLog: A format, version or encoding that is not read.
        ConfigError: No such file or object, no access, a database that cannot be parsed, an unknown zone.
        IntegrityError: The object was replaced while it was read (also while iterating).
    """
    if not str(path):
        raise ConfigError("an empty path", where="open_log", remedy="name a log, or '.' for the current folder")
    place = located(path)
    databases = _named(dbc), _named(arxml)
    if timezone is not None:
        from platform_lib.logs.mdf_clock import parse_zone

        parse_zone(timezone)  # a name that this log does not ask for is wrong all the same
    try:
        source = _open_source(place, *databases, recover=recover, timezone=timezone)
    except CorruptLog as error:
        if recover and error.remedy in (None, REMEDY):  # which is what was tried
            raise CorruptLog(error.what, where=error.where, remedy=_NOTHING_WHOLE) from error
        raise
    return Log(place, source)


def _named(databases: str | Path | Iterable[str | Path]) -> tuple[str, ...]:
    """Return databases as text; one alone is no row of letters."""
    return (str(databases),) if isinstance(databases, str | Path) else tuple(map(str, databases))


def advised(error: CorruptLog, path: str | Path, *, timezone: str | None = None) -> CorruptLog:
    """Return a refusal that offers recovery only where that would give rows; of large logs and objects, untried."""
    place = located(path)
    untried = not isinstance(place, Path) or not place.is_file() or place.stat().st_size > _MOST_TRIED_BYTES
    if error.remedy not in (None, REMEDY) or untried:
        return error
    try:
        with open_log(place, recover=True, timezone=timezone) as log:
            if any(stream.rows for stream in log.streams):
                return error
    except PlatformError:
        pass
    return CorruptLog(error.what, where=error.where, remedy=_NOTHING_WHOLE)


def _open_source(
    path: Path | str, dbc: tuple[str, ...], arxml: tuple[str, ...], *, recover: bool, timezone: str | None
) -> Source:
    opened = open_file(path)
    if opened is None:
        from platform_lib.logs.rosbag import open_bag_folder

        return open_bag_folder(path, recover=recover)
    try:
        magic = opened.read_at(0, min(16, opened.size_bytes))
        _check_known(path, magic)
    except BaseException:
        opened.close()
        raise
    if magic.startswith(_MDF_MAGICS):
        from platform_lib.logs.mdf import open_mdf

        return open_mdf(opened, dbc=dbc, arxml=arxml, recover=recover, timezone=timezone)
    if magic.startswith(_MCAP_MAGIC[:5]):
        from platform_lib.logs.mcap.source import open_mcap

        return open_mcap(opened, recover=recover)
    if magic.startswith(_SQLITE_MAGIC):
        from platform_lib.logs.rosbag_sqlite import open_sqlite_bag

        return open_sqlite_bag(opened, recover=recover)
    from platform_lib.logs.rosbag1 import open_bag1

    return open_bag1(opened, recover=recover)


def _check_known(path: Path | str, magic: bytes) -> None:
    if not magic:
        raise CorruptLog("an empty file", where=path, remedy="fetch it again from its source")
    if magic.startswith((*_MDF_MAGICS, _SQLITE_MAGIC, _BAG1_MAGIC, _MCAP_MAGIC[:5])):
        return
    what, remedy = f"it starts with {magic[:8]!r}, which no known format does", _FORMATS
    for beginning, kind, advice in _OTHERS:
        if magic.startswith(beginning):
            what, remedy = f"it is {kind}", advice
    raise CorruptLog(f"not a drive log: {what}", where=path, remedy=remedy)


def find_logs(paths: Iterable[str | Path]) -> list[Path]:
    """Return the logs under `paths`, sorted: files with a `LOG_SUFFIXES` suffix, and ROS 2 bag folders as one each.

    A path that is named itself is taken whatever its suffix. Hidden files and folders are skipped. Links to folders are
    followed, each folder once: by its own name where that lies under `paths`, else by the first link to it. A link with
    a log's suffix that leads nowhere is returned, so that reading it says so; so is a folder below `paths` that may not
    be listed.

    Raises:
        ConfigError: A path does not exist, or is a pipe, a socket or a device.
        OSError: A folder that is named itself may not be listed.
    """
    found: set[Path] = set()
    folders: list[Path] = []
    for item in map(Path, paths):
        if item.is_dir():
            folders.append(item)
        elif item.is_file():
            found.add(item)
        elif item.exists():
            raise ConfigError("not a file or folder", where=item, remedy="name drive logs or folders that hold them")
        else:
            raise ConfigError("no such file or folder", where=item, remedy="name drive logs or folders that hold them")
    return sorted(found.union(_walk(folders)))


def _walk(folders: list[Path]) -> Iterator[Path]:
    named = set(folders)
    links: list[Path] = []
    seen: set[Path] = set()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        try:
            if (folder / BAG_METADATA).is_file():
                yield folder
                continue
            below, links_below, logs = _listed(folder)
        except (FileNotFoundError, NotADirectoryError):  # it went away since its own folder was listed
            continue
        except OSError:
            if folder in named:
                raise
            yield folder
            continue
        folders += below
        links += links_below
        yield from logs


def _listed(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the folders in a folder, the links to folders, and the logs."""
    folders: list[Path] = []
    links: list[Path] = []
    logs: list[Path] = []
    for item in sorted(folder.iterdir()):
        if item.name.startswith("."):
            continue
        if item.is_dir():
            (links if item.is_symlink() else folders).append(item)
        elif item.suffix.lower() in LOG_SUFFIXES and (item.is_file() or (item.is_symlink() and not item.exists())):
            logs.append(item)
    return folders, links, logs


def decode_cdr(message_type: str, schema_text: str, payloads: Iterable[bytes]) -> pa.RecordBatch:
    """Decode stored CDR payloads of one ROS 2 message type, one row a payload.

    Args:
        message_type: For example ``sensor_msgs/msg/Imu``.
        schema_text: The ros2msg definition with its dependencies, as `Stream.schema_text` has it.
        payloads: Serialised messages, each with its 4-byte encapsulation header.

    Returns:
        One column a field: nested messages are structs, fixed arrays and sequences are lists, bytes are binary.

    Raises:
        CorruptLog: A payload does not fit the definition.
        UnsupportedLog: The definition holds a type that is not decoded (wstring, a missing definition).
    """
    from platform_lib.logs.schemas.cdr import decode_payloads

    return decode_payloads(message_type, schema_text, payloads)
