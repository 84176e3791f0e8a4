"""MDF 4 -> Arrow: ours, asammdf's fastest way, and the floor under both."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from asammdf import MDF
from deflate import zlib_decompress

from platform_lib.logs import open_log
from tests.bench.digests import Digest, NamedDigests
from tests.bench.side import Digests, Parts, Side, Task

CAN_GROUP = "CAN_DataFrame"


class _Ours:
    def __init__(self, task: Task) -> None:
        self._task = task

    def run(self) -> None:
        with open_log(self._task.log) as log:
            for stream in log.streams:
                rows = sum(batch.num_rows for batch in log.read(stream.name))
                assert rows == stream.rows

    def check(self) -> Digests:
        found = NamedDigests()
        with open_log(self._task.log) as log:
            for stream in log.streams:
                group = stream.name.partition(":")[0]
                for batch in log.read(stream.name):
                    found[f"{group}/time"].times(batch.column(0).to_numpy())
                    for name, column in zip(batch.schema.names[1:], batch.columns[1:], strict=True):
                        found[f"{group}/{name}"].arrow(column)
        return found.texts()


class _Asammdf:
    """One `select` a group, sharing the group's time: it reads and inflates each group once."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def run(self) -> None:
        with MDF(self._task.log) as mdf:
            for index in range(len(mdf.groups)):
                for _ in group_columns(mdf, index):
                    pass

    def check(self) -> Digests:
        found = NamedDigests()
        with MDF(self._task.log) as mdf:
            start_ns = int(mdf.header.start_time.timestamp()) * 1_000_000_000
            for index in range(len(mdf.groups)):
                for name, column in group_columns(mdf, index):
                    if name == "time":
                        time_s = column.to_numpy(zero_copy_only=False)
                        found[f"{index}/time"].times(start_ns + np.rint(time_s * 1e9).astype(np.int64))
                    elif pa.types.is_fixed_size_list(column.type):
                        found[f"{index}/{name}"].texts(map(bytes, column.to_pylist()))
                    else:
                        found[f"{index}/{name}"].arrow(column)
        return found.texts()


def group_columns(mdf: MDF, index: int) -> Iterator[tuple[str, pa.Array]]:
    """Yield a group's columns, physical values, its time first."""
    group = mdf.groups[index]
    master = mdf.masters_db.get(index)
    wanted = [
        (None, index, at)
        for at, channel in enumerate(group.channels)
        if at != master and channel.name != CAN_GROUP  # a frame's members one by one are faster than the structure
    ]
    signals = mdf.select(wanted, copy_master=False)
    yield "time", pa.array(signals[0].timestamps)
    for signal in signals:
        values = signal.samples
        if values.ndim == 1:
            yield signal.name, pa.array(values)
        else:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            yield signal.name, pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


class _Floor:
    """Reads, inflates and copies the blocks of the groups, each once; deflate's own checksum is part of inflating."""

    def __init__(self, task: Task) -> None:
        self._log = task.log
        self._threads = task.threads
        with MDF(task.log) as mdf:
            self._blocks = [
                (block.address, block.compressed_size, block.original_size, bool(block.block_type))
                for group in mdf.groups
                if _wanted(task.topics, [channel.name for channel in group.channels])
                for block in group.get_data_blocks()
            ]

    def run(self) -> Parts:
        if self._threads == 1:
            return _sum(_pass(self._log, self._blocks))
        with ThreadPoolExecutor(self._threads) as pool:
            found = pool.map(lambda at: _sum(_pass(self._log, self._blocks[at :: self._threads])), range(self._threads))
            return _sum(list(found))

    def check(self) -> Digests:
        return {}


def _wanted(kinds: tuple[str, ...], names: list[str]) -> bool:
    return not kinds or ("can" in kinds) == (CAN_GROUP in names)


def _pass(path: Path, blocks: Iterable[tuple[int, int, int, bool]]) -> Iterator[Parts]:
    now = time.thread_time
    with path.open("rb", buffering=0) as stream:
        for offset, stored, size, deflated in blocks:
            begin = now()
            stream.seek(offset)
            data = stream.read(stored)
            read = now()
            raw = zlib_decompress(data, originalsize=size) if deflated else data
            inflated = now()
            np.frombuffer(raw, np.uint8).copy()
            yield {"read": read - begin, "inflate": inflated - read, "crc": 0.0, "copy": now() - inflated}


def _sum(parts: Iterable[Parts]) -> Parts:
    total = {"read": 0.0, "inflate": 0.0, "crc": 0.0, "copy": 0.0}
    for part in parts:
        for name, value in part.items():
            total[name] += value
    return total


class _OursBus:
    def __init__(self, task: Task) -> None:
        self._task = task
        assert task.database is not None
        self._database = task.database

    def run(self) -> None:
        for _ in self._batches():
            pass

    def check(self) -> Digests:
        found = NamedDigests()
        for name, batch in self._batches():
            times = batch.column(0)
            for signal, column in zip(batch.schema.names[1:], batch.columns[1:], strict=True):
                key = f"{name.partition('/')[2]}.{signal}"
                found[key].arrow(column)
                found[f"{key} time"].times(times.filter(column.is_valid()).to_numpy())
        return found.texts()

    def _batches(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        with open_log(self._task.log, dbc=[self._database]) as log:
            for stream in log.streams:
                if "/" in stream.name:
                    yield from ((stream.name, batch) for batch in log.read(stream.name))


class _AsammdfBus:
    """The extraction alone, its database parsed before; what it gives stays in asammdf's own form."""

    def __init__(self, task: Task) -> None:
        from asammdf.blocks.utils import load_can_database

        self._task = task
        self._database = load_can_database(task.database)
        self._messages = {frame.arbitration_id.id: frame.name for frame in self._database}

    def run(self) -> None:
        with MDF(self._task.log) as mdf:
            mdf.extract_bus_logging({"CAN": [(self._database, 0)]}).close()

    def check(self) -> Digests:
        values: dict[str, Digest] = {}
        with MDF(self._task.log) as mdf, mdf.extract_bus_logging({"CAN": [(self._database, 0)]}) as bus:
            start_ns = int(mdf.header.start_time.timestamp()) * 1_000_000_000
            for index in range(len(bus.groups)):
                self._group(bus, index, start_ns, values)
        return {name: str(digest) for name, digest in values.items()}

    def _group(self, bus: Any, index: int, start_ns: int, values: dict[str, Digest]) -> None:
        group = bus.groups[index]
        identifier = re.search(r"ID=0x([0-9A-F]+)", group.channel_group.acq_name)
        assert identifier is not None, group.channel_group.acq_name
        message = self._messages[int(identifier[1], 16)]
        wanted = [(None, index, at) for at in range(len(group.channels)) if at != bus.masters_db.get(index)]
        for signal in bus.select(wanted, copy_master=False, ignore_value2text_conversions=True):
            key = f"{message}.{signal.name}"
            values.setdefault(key, Digest()).numbers(signal.samples)
            times = start_ns + np.rint(signal.timestamps * 1e9).astype(np.int64)
            values.setdefault(f"{key} time", Digest()).times(times)


def ours(task: Task) -> Side:
    """Read every group through `open_log`."""
    return _Ours(task)


def asammdf(task: Task) -> Side:
    """Read every group through asammdf."""
    return _Asammdf(task)


def floor(task: Task) -> Side:
    """Read, inflate and copy the groups' blocks."""
    return _Floor(task)


def ours_bus(task: Task) -> Side:
    """Decode every bus message through `open_log`."""
    return _OursBus(task)


def asammdf_bus(task: Task) -> Side:
    """Decode every bus message through asammdf."""
    return _AsammdfBus(task)
