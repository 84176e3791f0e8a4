"""What is whole of a damaged ``.db3`` file: rows of sound pages whose time the file's own index of times confirms."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.model import Report
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.sqlite_pages import SqlitePages, TornError, Value, column_names, record

Index = npt.NDArray[np.int64]
Row = dict[str, Value]
_MASTER_ROOT = 1
_MASTER_COLUMNS = ["type", "name", "tbl_name", "rootpage", "sql"]
_OF_TIMES = re.compile(r"\(\s*[\"`\[]?timestamp", re.IGNORECASE)


class SalvagedTables:
    """The tables of a damaged bag file.

    Attributes:
        names: Of the tables that are there.
    """

    def __init__(self, source: ByteSource, report: Report, *, missing_bytes: int = 0) -> None:
        """Find the tables.

        Args:
            source: The file.
            report: Told of every loss.
            missing_bytes: How much of the file a cut took; `report` knows of it.

        Raises:
            CorruptLog: The first page, which names them, is not whole.
        """
        self._source = source
        self._report = report
        self._missing_bytes = missing_bytes
        self._pages = SqlitePages(source)
        self._tables: dict[str, tuple[int, list[str]]] = {}
        self._times_root: int | None = None
        for row in self._rows(_MASTER_ROOT, _MASTER_COLUMNS):
            name, root, sql = row["name"], row["rootpage"], row["sql"]
            if row["type"] == "table" and isinstance(root, int) and isinstance(sql, str):
                self._tables[str(name)] = (root, column_names(sql))
            elif row["type"] == "index" and row["tbl_name"] == "messages" and isinstance(root, int):
                if _OF_TIMES.search(str(sql)):
                    self._times_root = root
        self.names = set(self._tables)
        if not self.names:
            raise CorruptLog("the page that names the tables is damaged", where=source.name, remedy=REMEDY)

    def _rows(self, root: int, columns: list[str]) -> Iterator[Row]:
        """Yield a table's whole rows; what a column lacks, because it was added later, is null."""
        for cell in self._pages.table(root):
            try:
                values = record(self._pages.data(cell))
            except (TornError, UnicodeDecodeError, IndexError):
                continue
            row: Row = dict.fromkeys(columns) | dict(zip(columns, values, strict=False))
            yield row | {"rowid": cell.rowid}

    def select(self, table: str, columns: tuple[str, ...]) -> list[tuple[Value, ...]]:
        """Return some columns of all whole rows of a small table, texts but for ``id``; other rows are of other tables."""
        root, names = self._tables[table]
        found = []
        for row in self._rows(root, names):
            row["id"] = row["rowid"] if row.get("id") is None else row["id"]
            if all(isinstance(row.get(name), int if name == "id" else str) for name in columns):
                found.append(tuple(row.get(name) for name in columns))
        return found

    def messages(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield topic, time, place and payload length of every whole message, by time."""
        root, names = self._tables["messages"]
        at_topic, at_time, at_data = (names.index(name) for name in ("topic_id", "timestamp", "data"))
        found, ids = array("q"), array("q")
        before = self._pages.torn
        for cell in self._pages.table(root):
            try:
                values = record(self._pages.data(cell))
            except (TornError, UnicodeDecodeError):
                continue
            topic, time_ns, data = values[at_topic], values[at_time], values[at_data]
            if isinstance(topic, int) and isinstance(time_ns, int) and isinstance(data, bytes):
                found.extend((topic, time_ns, cell.place, len(data)))
                ids.append(cell.rowid)
        torn = self._pages.torn - before
        rows = np.frombuffer(found, np.int64).reshape(-1, 4)
        kept = self._confirmed(np.frombuffer(ids, np.int64), rows[:, 1]) if len(ids) else np.empty(0, bool)
        if torn:
            lost = max(0, torn * self._pages.page_bytes - self._missing_bytes)  # these were counted as missing
            self._report.lose(lost, f"pages of messages that are not whole: {torn}")
        if not kept.all():
            self._report.problems.append(
                f"{int((~kept).sum())} messages are left out: the index of times contradicts them"
            )
        self._report.problems.append(f"{int(kept.sum())} messages could be read")
        rows = rows[kept]
        order = np.lexsort((np.frombuffer(ids, np.int64)[kept], rows[:, 1]))
        yield from map(tuple, rows[order].tolist())

    def _confirmed(self, ids: Index, times: Index) -> npt.NDArray[np.bool_]:
        """Return which rows the index of times does not contradict; where it is whole, it must have them."""
        if self._times_root is None:
            return np.ones(ids.size, bool)
        before, entries = self._pages.torn, array("q")
        for values in self._pages.index(self._times_root):
            if len(values) == 2 and isinstance(values[0], int) and isinstance(values[1], int):
                entries.extend((values[1], values[0]))
        whole = self._pages.torn == before
        known = np.frombuffer(entries, np.int64).reshape(-1, 2) if entries else np.empty((0, 2), np.int64)
        known = known[np.argsort(known[:, 0], kind="stable")]
        at = np.searchsorted(known[:, 0], ids)
        there = np.zeros(ids.size, bool)
        inside = at < len(known)
        there[inside] = known[at[inside], 0] == ids[inside]
        agrees = np.zeros(ids.size, bool)
        agrees[there] = known[at[there], 1] == times[there]
        return agrees if whole else agrees | ~there

    def payload(self, place: int) -> bytes:
        """Return the payload of the message at `place`.

        Raises:
            CorruptLog: It is gone.
        """
        names = self._tables["messages"][1]
        try:
            data = record(self._pages.data(self._pages.cell(place)))[names.index("data")]
        except (TornError, UnicodeDecodeError, LookupError) as error:
            raise CorruptLog("the file changed while it was read", where=self._source.name, remedy=REMEDY) from error
        if not isinstance(data, bytes):
            raise CorruptLog("the file changed while it was read", where=self._source.name, remedy=REMEDY)
        return data

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads at `places`."""
        del size_bytes
        return Payloads.of([self.payload(place) for place in places.tolist()])

    def close(self) -> None:
        """Release the file."""
        self._pages.close()
