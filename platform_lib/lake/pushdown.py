"""Views that read what a query asks for, when it asks: DuckDB says which columns and which rows.

DuckDB takes a dataset's own scanner, and tells it the condition that it pushed down. What that condition demands of a few key
columns is told by Arrow itself: values are taken from its text, and kept only if every partition without them is ruled out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from platform_lib.errors import PlatformError

Keys = Mapping[str, tuple[str | int, ...]]
"""Column -> the values of which every row that is asked for has one."""
Read = Callable[[Keys, Sequence[str]], Iterable[pa.Table]]
"""From keys, and the columns that are needed, to rows: all that have the keys, others too."""
_TEXT = r'"(?:[^"\\]|\\.)*"'
_NUMBER = r"-?\d+"


class View(ds.Dataset):  # type: ignore[misc] # pyarrow has no types
    """A table that exists while it is read.

    Args:
        schema: Its columns.
        keys: Those that `read` can choose by.
        read: Gives its rows.
        failed: Where an error of reading is put: DuckDB makes a text of it.
    """

    def __init__(self, schema: pa.Schema, keys: Sequence[str], read: Read, failed: list[PlatformError]) -> None:
        self._schema, self._keys, self._read, self._failed = schema, keys, read, failed

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self._schema

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002 - what DuckDB calls it
        **_: object,
    ) -> ds.Scanner:
        """Read what a query asks for; DuckDB calls it once for each place where the view is named."""
        names = self._schema.names if columns is None else list(columns)
        if filter is not None:
            told = str(filter)
            names = [name for name in self._schema.names if name in names or name in told]
        schema = pa.schema([self._schema.field(name) for name in names])
        batches = self._batches(schema, proven(filter, self._schema, self._keys))
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        return ds.Scanner.from_batches(reader, columns=columns and list(columns), filter=filter)

    def _batches(self, schema: pa.Schema, keys: Keys) -> Iterable[pa.RecordBatch]:
        try:
            for table in self._read(keys, schema.names):
                yield from table.select(schema.names).cast(schema).to_batches()
        except PlatformError as error:
            self._failed.append(error)
            raise


def proven(
    condition: ds.Expression | None, schema: pa.Schema, names: Sequence[str]
) -> dict[str, tuple[str | int, ...]]:
    """Return of some columns the values of which every row that meets a condition has one; of others nothing."""
    found: dict[str, tuple[str | int, ...]] = {}
    for name in names if condition is not None else ():
        is_text = pa.types.is_string(schema.field(name).type)
        values = _values(str(condition), name, is_text=is_text)
        if values and _excludes_others(condition, schema, name, values):
            found[name] = tuple(values)
    return found


def _values(condition: str, name: str, *, is_text: bool) -> list[str | int]:
    """Take from a condition's text what is equalled with a column: a guess, which `_excludes_others` confirms or not."""
    literal = _TEXT if is_text else _NUMBER
    told = re.findall(rf"\({name} == ({literal})\)", condition)
    for inside in re.findall(rf"is_in\({name}, {{value_set=\w+:\[(.*?)\n\], null", condition, re.DOTALL):
        told += re.findall(literal, inside)
    try:
        values = {json.loads(item) for item in told}
    except ValueError:
        return []
    return sorted(values)


def _excludes_others(condition: ds.Expression, schema: pa.Schema, name: str, values: Sequence[str | int]) -> bool:
    """Whether Arrow rules out every partition whose rows have none of the values."""
    field, kind = ds.field(name), schema.field(name).type
    known = [pa.scalar(value, kind) for value in values]
    others = [field.is_null(), field < known[0], field > known[-1]]
    others += [(field > low) & (field < high) for low, high in pairwise(known)]
    partitions = ds.FileSystemDataset.from_paths(
        [str(number) for number in range(len(others))],
        schema=schema,
        format=ds.ParquetFileFormat(),
        filesystem=LocalFileSystem(),
        partitions=others,
    )
    return not list(partitions.get_fragments(filter=condition))
