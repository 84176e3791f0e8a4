"""ROS 2 bag folders: a ``metadata.yaml`` names the parts (sqlite3 or MCAP), of a local folder or under an S3 prefix.

The bag's metadata counts messages, and the counts must agree with the parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import BAG_METADATA, ByteSource, LocalSource
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mcap.source import load_mcap
from platform_lib.logs.merging import merged
from platform_lib.logs.messages import Loaded, RowStore, Topic, TopicSource
from platform_lib.logs.model import BATCH_BYTES, Report, Window, add_metadata
from platform_lib.logs.payloads import Payloads, Rows
from platform_lib.logs.rosbag_sqlite import check_count, load_sqlite, plain_message
from platform_lib.logs.scratch import decompressed

_MOST_METADATA_BYTES = 64 << 20
# Before this version of the metadata, paths began with the bag's folder. Source: ros2/rosbag2,
# rosbag2_cpp/src/rosbag2_cpp/readers/sequential_reader.cpp, resolve_relative_paths.
_PATHS_IN_FOLDER = 4


class _Loose(BaseModel):
    # rosbag2 adds keys from version to version; those that are read here must have their type.
    model_config = ConfigDict(extra="ignore", frozen=True)


class _TopicMetadata(_Loose):
    name: str
    type: str


class _TopicCount(_Loose):
    message_count: int
    topic_metadata: _TopicMetadata


class _Bag(_Loose):
    version: int
    storage_identifier: str
    relative_file_paths: list[str]
    message_count: int
    topics_with_message_count: list[_TopicCount] = []
    compression_format: str = ""
    compression_mode: str = ""
    custom_data: dict[str, str] = {}

    @field_validator("custom_data", mode="before")
    @classmethod
    def _or_nothing(cls, value: object) -> object:
        return {} if value in ("", "~", "null") else value  # YAML's ways to write none


class _Document(_Loose):
    rosbag2_bagfile_information: _Bag


def open_bag_folder(folder: Path | str, *, recover: bool) -> TopicSource:
    """Open a bag folder as one log; see `platform_lib.logs.open_log`."""
    with translated(folder, "opening the bag"):
        bag = _bag(folder)
        report = Report(format=f"rosbag2-{bag.storage_identifier}")
        parts: list[Loaded] = []
        try:
            for name in bag.relative_file_paths:
                part = _part(folder, name, bag, report, recover=recover)
                parts.extend([] if part is None else [part])
                if bag.storage_identifier == "sqlite3":
                    check_count(folder, sum(topic.rows for part in parts for topic in part.topics))
            loaded = _join(parts, bag.custom_data)
            _compare_counts(folder, bag, loaded.topics, report, recover=recover)
        except BaseException:
            for part in parts:
                part.store.close()
            raise
        return TopicSource(folder, loaded, report)


def _inside(folder: Path | str, name: PurePosixPath) -> Path | str:
    return folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}"


def _found(place: Path | str) -> ByteSource | None:
    """Open a file of a bag; ``None`` if it is not there."""
    if isinstance(place, Path):
        return LocalSource(place) if place.is_file() else None
    from platform_lib.logs.s3_source import find

    return find(place)


def _bag(folder: Path | str) -> _Bag:
    path = _inside(folder, PurePosixPath(BAG_METADATA))
    source = _found(path)
    if source is None:
        raise UnsupportedLog(
            "a folder without metadata.yaml is no bag", where=folder, remedy="name the log files in it, or ingest it"
        )
    with closing(source):
        text = source.read_at(0, min(source.size_bytes, _MOST_METADATA_BYTES))
    try:
        # Recorders quote no text, so one that looks like a number or a date must stay what it is: every scalar is text.
        document = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - which makes nothing but texts, lists and mappings
        bag = _Document.model_validate(document).rosbag2_bagfile_information
    except (yaml.YAMLError, ValidationError, ValueError, RecursionError) as error:
        short = " ".join(str(error).split())[:200]
        remedy = "open its .db3 or .mcap files one by one, or write it anew with `ros2 bag reindex`"
        raise CorruptLog(f"the bag's metadata cannot be read ({short})", where=path, remedy=remedy) from error
    if bag.storage_identifier not in ("sqlite3", "mcap"):
        raise UnsupportedLog(f"bag storage '{bag.storage_identifier}'; sqlite3 and mcap are read", where=path)
    if bag.compression_mode.upper() in ("FILE", "MESSAGE") and bag.compression_format != "zstd":
        remedy = "convert it with `ros2 bag convert`"
        raise UnsupportedLog(f"bag compression '{bag.compression_format}'; zstd is read", where=path, remedy=remedy)
    if not bag.relative_file_paths:
        raise CorruptLog("the bag's metadata names no files", where=path, remedy=REMEDY)
    if bag.version < _PATHS_IN_FOLDER:
        bag = bag.model_copy(
            update={"relative_file_paths": [_without_folder(name) for name in bag.relative_file_paths]}
        )
    return bag


def _without_folder(name: str) -> str:
    """Return a file's path in its bag's folder, of one that begins with that folder's name (or what it was once)."""
    pure = PurePosixPath(name)
    return name if pure.is_absolute() or len(pure.parts) < 2 else str(PurePosixPath(*pure.parts[1:]))


def _part(folder: Path | str, name: str, bag: _Bag, report: Report, *, recover: bool) -> Loaded | None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise CorruptLog(f"the bag names a file outside its folder: '{name}'", where=folder, remedy=REMEDY)
    source = _found(_inside(folder, pure))
    try:
        if source is None:
            raise CorruptLog("a file of the bag is missing", where=_inside(folder, pure), remedy=REMEDY)
        if bag.compression_mode.upper() != "FILE":
            return _load_part(source, bag, report, recover=recover)
        with closing(source), decompressed(source) as plain:
            return _load_part(LocalSource(plain), bag, report, recover=recover)
    except CorruptLog as error:
        if not recover:
            raise
        report.lose(source.size_bytes if source else 0, f"{pure.name}: {error.what}")
        return None


def _load_part(source: ByteSource, bag: _Bag, report: Report, *, recover: bool) -> Loaded:
    by_message = bag.compression_mode.upper() == "MESSAGE"
    if bag.storage_identifier == "mcap":
        loaded = load_mcap(source, report, recover=recover)
    else:
        loaded = load_sqlite(source, report, recover=recover, compressed=by_message)
    return replace(loaded, store=_PlainRows(loaded.store)) if by_message else loaded


def _compare_counts(folder: Path | str, bag: _Bag, topics: list[Topic], report: Report, *, recover: bool) -> None:
    found: dict[str, int] = defaultdict(int)
    for topic in topics:
        found[topic.name] += topic.rows
    said = {item.topic_metadata.name: item.message_count for item in bag.topics_with_message_count}
    wrong = [name for name, count in said.items() if found.get(name, 0) != count]
    if not wrong and sum(found.values()) == bag.message_count:
        return
    counts = {name: (said[name], found.get(name, 0)) for name in wrong}
    counts = counts or {"all topics": (bag.message_count, sum(found.values()))}
    for name, (expected, got) in counts.items():
        problem = f"the bag's metadata counts {expected} messages of {name}, its files hold {got}"
        if not recover:
            raise CorruptLog(problem, where=_inside(folder, PurePosixPath(BAG_METADATA)), remedy=REMEDY)
        report.lose(0, problem)


# -- several parts as one --------------------------------------------------------------------------------------------


class _JoinedRows:
    """The rows of several parts, of which a topic may be in any number."""

    def __init__(self, parts: list[Loaded], members: list[list[tuple[int, int]]]) -> None:
        """`members`: for each topic of the whole, which part holds it under which number there."""
        self._parts = parts
        self._members = members

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of the given topics: part after part where their times follow each other, else merged."""
        if all(self._in_sequence(topic) for topic in topics):
            for part, loaded in enumerate(self._parts):
                own = {there: topic for topic in topics for number, there in self._members[topic] if number == part}
                for there, rows in loaded.store.rows(list(own), window) if own else ():
                    yield own[there], rows
            return
        for topic in topics:
            sources = [self._part_rows(*member, window) for member in self._members[topic]]
            yield from ((topic, rows) for rows in merged(sources))

    def _in_sequence(self, topic: int) -> bool:
        found = [self._parts[part].topics[there] for part, there in self._members[topic]]
        spans = [(item.start_ns, item.stop_ns) for item in found if item.start_ns is not None and item.stop_ns]
        # Stops are one past the last row; rows of equal time stay in the order of the parts.
        return all(stop - 1 <= start for (_, stop), (start, _) in pairwise(spans))

    def _part_rows(self, part: int, topic: int, window: Window) -> Iterator[Rows]:
        return (rows for _, rows in self._parts[part].store.rows([topic], window))

    def close(self) -> None:
        """Release every part's file."""
        for part in self._parts:
            part.store.close()


class _PlainRows:
    """The rows of a part whose messages are compressed one by one."""

    def __init__(self, store: RowStore) -> None:
        self._store = store

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows with their payloads decompressed."""
        for topic, rows in self._store.rows(topics, window):
            first, size = 0, 0
            plain: list[bytes] = []
            for payload in rows.payloads.each():
                plain.append(plain_message(payload))
                size += len(plain[-1])
                if size > BATCH_BYTES:
                    yield topic, _with_payloads(rows, first, plain)
                    first, size, plain = first + len(plain), 0, []
            if plain:
                yield topic, _with_payloads(rows, first, plain)

    def close(self) -> None:
        """Release the file."""
        self._store.close()


def _with_payloads(rows: Rows, first: int, payloads: list[bytes]) -> Rows:
    some = slice(first, first + len(payloads))
    publish = None if rows.publish_time_ns is None else rows.publish_time_ns[some]
    return Rows(rows.log_time_ns[some], publish, Payloads.of(payloads))


def _join(parts: list[Loaded], custom: dict[str, str]) -> Loaded:
    metadata: dict[str, str] = dict(custom)
    groups: dict[tuple[str, str | None, str, str | None], list[tuple[int, int]]] = {}
    for number, part in enumerate(parts):
        add_metadata(metadata, part.metadata)
        for place, topic in enumerate(part.topics):
            key = (topic.name, topic.message_type, topic.message_encoding, topic.schema_text)
            groups.setdefault(key, []).append((number, place))
    topics = []
    for members in groups.values():
        found = [parts[number].topics[place] for number, place in members]
        starts = [topic.start_ns for topic in found if topic.start_ns is not None]
        stops = [topic.stop_ns for topic in found if topic.stop_ns is not None]
        topics.append(
            replace(
                found[0],
                rows=sum(topic.rows for topic in found),
                start_ns=min(starts, default=None),
                stop_ns=max(stops, default=None),
            )
        )
    attachments = tuple(item for part in parts for item in part.attachments)
    return Loaded(topics, _JoinedRows(parts, list(groups.values())), metadata, attachments)
