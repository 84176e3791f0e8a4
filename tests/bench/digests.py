"""Values -> a short text that is the same for the same values, whoever read them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from tests.bench.side import Digests


class Digest:
    """A checksum over values that come in pieces. Numbers count as doubles, so that no reader's choice of type matters."""

    def __init__(self) -> None:
        self._count = 0
        self._crc = 0
        self._lengths_crc = 0

    def __str__(self) -> str:
        return f"{self._count}:{self._crc:08x}:{self._lengths_crc:08x}"

    def numbers(self, values: Any) -> None:
        """Take numbers, of any shape."""
        doubles = np.ascontiguousarray(values).astype(np.float64) + 0.0  # no negative zero
        self._add(doubles.size, doubles.tobytes())

    def texts(self, values: Iterable[str | bytes]) -> None:
        """Take texts or byte strings."""
        items = [value.encode() if isinstance(value, str) else value for value in values]
        lengths = np.array([len(item) for item in items], np.int64)
        self._lengths_crc = zlib.crc32(lengths.tobytes(), self._lengths_crc)
        self._add(len(items), b"".join(items))

    def arrow(self, column: pa.Array) -> None:
        """Take an Arrow column, without its nulls; structs member by member."""
        kind = column.type
        if column.null_count:
            column = column.drop_null()
        if pa.types.is_struct(kind):
            for member in column.flatten():
                self.arrow(member)
        elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            self.arrow(column.flatten())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            self.numbers(column.to_numpy(zero_copy_only=False))
        else:
            self.texts(column.to_pylist())

    def times(self, values_ns: Any) -> None:
        """Take int64 nanoseconds, exactly."""
        exact = np.ascontiguousarray(values_ns, np.int64)
        self._add(exact.size, exact.tobytes())

    def _add(self, count: int, data: bytes) -> None:
        self._count += count
        self._crc = zlib.crc32(data, self._crc)


class NamedDigests:
    """Digests by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Digest] = {}

    def __getitem__(self, name: str) -> Digest:
        return self._by_name.setdefault(name, Digest())

    def texts(self) -> Digests:
        """Return each as text."""
        return {name: str(digest) for name, digest in self._by_name.items()}
