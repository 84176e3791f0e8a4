"""The as-of join of ten million asked times with a million states: ours, polars', and the floor of moving the bytes.

Tables lie in memory; what is timed is the join, up to a column of the states' values beside the asked times.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.timeline import Coverage, as_of_values
from tests.bench.digests import Digest
from tests.bench.side import Digests, Parts, Side, Task

ASKED, STATES, KEYS = 10_000_000, 1_000_000, 100
TOLERANCE_NS = 20_000_000
_T0_NS = 1_780_000_000_000_000_000
_STEP_NS = 1_000_000
"""Mean distance of the asked times; states are ten times as far apart."""


def write_states(path: Path, scale: float) -> None:
    """Write both tables, as columns of one stream of batches: asked times first, then states."""
    rng = np.random.default_rng(7)
    asked, states = int(ASKED * scale), int(STATES * scale)
    span_ns = asked * _STEP_NS
    tables = (
        {"at_ns": np.sort(rng.integers(0, span_ns, asked)) + _T0_NS, "at_key": rng.integers(0, KEYS, asked)},
        {
            "timestamp_ns": np.sort(rng.integers(0, span_ns, states)) + _T0_NS,
            "key": rng.integers(0, KEYS, states),
            "value": rng.normal(size=states),
        },
    )
    columns = {name: values for table in tables for name, values in table.items()}
    # One row a column: they differ in length.
    arrays = [pa.array([values.view(np.int64)], pa.list_(pa.int64())) for values in columns.values()]
    batch = pa.record_batch(arrays, names=list(columns))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


class _Tables:
    """Both tables in memory, and what of them is asked for."""

    def __init__(self, task: Task) -> None:
        with pa.OSFile(str(task.log)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        columns = {name: batch.column(name).flatten().to_numpy() for name in batch.schema.names}
        self.at_ns, self.at_key = columns["at_ns"], columns["at_key"]
        self.timestamp_ns, self.key = columns["timestamp_ns"], columns["key"]
        self.value = columns["value"].view(np.float64)
        self.keyed = "key" in task.topics
        # By key a state is a hundred times as old.
        wide = KEYS if self.keyed else 1
        self.tolerance_ns = TOLERANCE_NS * wide if "tolerance" in task.topics else None


def _digests(values: pa.Array) -> Digests:
    digest = Digest()
    digest.arrow(values)
    return {"value": str(digest), "known": str(len(values) - values.null_count)}


class _Ours:
    def __init__(self, task: Task) -> None:
        self._tables = _Tables(task)

    def run(self) -> None:
        self._join()

    def _join(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        own = self._tables
        keys = {"key": own.key, "at_key": own.at_key} if own.keyed else {}
        values, coverage = as_of_values(own.timestamp_ns, own.value, own.at_ns, max_age_ns=own.tolerance_ns, **keys)
        return values, coverage == Coverage.KNOWN

    def check(self) -> Digests:
        values, valid = self._join()
        return _digests(pa.array(values, mask=~valid))


class _Polars:
    def __init__(self, task: Task) -> None:
        import polars

        own = self._tables = _Tables(task)
        keys = [("key", own.at_key, own.key)] if own.keyed else []
        self._asked = polars.DataFrame({"time": own.at_ns} | {name: left for name, left, _ in keys})
        self._states = polars.DataFrame(
            {"time": own.timestamp_ns} | {name: right for name, _, right in keys} | {"value": own.value}
        )
        # That they are sorted is given: no side has to look, ours does.
        self._asked = self._asked.with_columns(polars.col("time").set_sorted())
        self._states = self._states.with_columns(polars.col("time").set_sorted())

    def _join(self) -> pa.Array:
        own = self._tables
        joined = self._asked.join_asof(
            self._states,
            on="time",
            by="key" if own.keyed else None,
            strategy="backward",
            tolerance=own.tolerance_ns,
            check_sortedness=False,
        )
        return joined["value"]

    def run(self) -> None:
        self._join()

    def check(self) -> Digests:
        values = self._join().to_arrow()
        return _digests(values)


class _Floor:
    """Every input read once, and a value and its validity written for each asked time."""

    def __init__(self, task: Task) -> None:
        self._tables = _Tables(task)

    def run(self) -> Parts:
        own = self._tables
        begin = time.process_time()
        inputs = [own.at_ns, own.timestamp_ns, own.value, *((own.at_key, own.key) if own.keyed else ())]
        for column in inputs:
            column.view(np.int64).sum()
        read = time.process_time()
        values = np.empty(len(own.at_ns))
        values[:] = own.at_ns
        np.ones(len(own.at_ns), dtype=np.bool_)
        return {"read": read - begin, "inflate": 0.0, "copy": time.process_time() - read}

    def check(self) -> Digests:
        return {}


def ours(task: Task) -> Side:
    """Join by one pass over both sides."""
    return _Ours(task)


def polars(task: Task) -> Side:
    """Join as polars does."""
    return _Polars(task)


def floor(task: Task) -> Side:
    """Move the bytes, and do nothing with them."""
    return _Floor(task)
