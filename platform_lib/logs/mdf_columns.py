"""One MDF channel: its Arrow type, and raw samples -> Arrow values.

Conversions are evaluated by asammdf, formulas by this package's own grammar. A conversion to text makes the whole column text: each raw value is converted
by itself and cached, a value that the table leaves numeric is written as its shortest decimal form. So the type of a
column never depends on which values a batch happens to hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import CorruptLog
from platform_lib.logs.mdf4.formula import Formula

Values = npt.NDArray[Any]
# Conversion types that can give text. Source: ASAM MDF 4.2 cc_type 7, 8, 10; MDF 3.3 conversion formats 11, 12.
_TEXT_V4, _TEXT_V3 = frozenset({7, 8}), frozenset({11, 12})


@dataclass(frozen=True, slots=True)
class Column:
    """How one channel becomes a column.

    Attributes:
        name: The column's unique name.
        index: The channel's index in its group.
        arrow: The column's type.
        unit: As the file has it, ``None`` where it has none.
        conversion: asammdf's conversion to apply to raw samples, or ``None``.
        as_text: The conversion gives text for at least some values.
        encoding: Of byte strings.
    """

    name: str
    index: int
    arrow: pa.DataType
    unit: str | None
    conversion: Any
    as_text: bool
    encoding: str

    def field(self) -> pa.Field:
        """Return the Arrow field, with its unit."""
        return pa.field(self.name, self.arrow, metadata={"unit": self.unit} if self.unit else None)

    def array(self, raw: Values, invalid: Values | None) -> pa.Array:
        """Convert raw samples; a row whose invalidation bit is set becomes null."""
        mask = None if invalid is None else np.asarray(invalid, bool)
        if self.as_text:
            return self._texts(raw, mask)
        values = raw if raw.dtype.names else physical(raw, self.conversion)
        return to_arrow(values, self.arrow, mask, self.encoding)

    def _texts(self, raw: Values, mask: Values | None) -> pa.Array:
        distinct, codes = np.unique(raw, return_inverse=True)
        words = [
            _word(physical(distinct[at : at + 1], self.conversion)[0], self.encoding) for at in range(distinct.size)
        ]
        indices = pa.array(codes.astype(np.int32), mask=mask)
        return pa.array(words, type=pa.string()).take(indices)


def gives_text(conversion: Any, version: int) -> bool:
    """Whether a conversion can give text."""
    return conversion is not None and conversion.conversion_type in (_TEXT_V4 if version >= 4 else _TEXT_V3)


def physical(raw: Values, conversion: Any) -> Values:
    """Apply a conversion; without one, or without rows, raw values are the physical ones."""
    if conversion is None:
        return raw
    formula = str(getattr(conversion, "formula", "") or "")
    if formula and raw.dtype.kind in "uifb":  # asammdf would take ^ as "exclusive or"; in MDF it is a power
        with np.errstate(all="ignore"):
            return _formula(formula)(raw)
    with np.errstate(all="ignore"):  # a rational conversion may divide by zero: that is its value there
        return np.asarray(conversion.convert(raw, as_object=True) if raw.size else conversion.convert(raw))


@cache
def _formula(text: str) -> Formula:
    return Formula(text)


def _word(value: Any, encoding: str) -> str:
    if isinstance(value, bytes):
        return _decode(value, encoding)
    if isinstance(value, str):
        return value
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)


def _decode(value: bytes, encoding: str) -> str:
    try:
        return value.rstrip(b"\0").decode(encoding)
    except UnicodeDecodeError as error:
        raise CorruptLog(f"a text value is not {encoding}") from error


def arrow_type_of(values: Values) -> pa.DataType | None:
    """Return the Arrow type for samples like `values`; ``None`` where they have no faithful one."""
    if values.dtype.names:
        return arrow_type_of(values[values.dtype.names[0]])
    if values.dtype.kind in "SUO":
        return pa.string()
    if values.dtype.kind == "V":
        return pa.binary()
    if values.dtype.kind not in "fiub":
        return None
    item: pa.DataType = pa.from_numpy_dtype(values.dtype.newbyteorder("="))
    for count in reversed(values.shape[1:]):
        item = pa.list_(item, count)
    return item


def to_arrow(values: Values, arrow: pa.DataType, mask: Values | None, encoding: str) -> pa.Array:
    """Turn physical samples (first axis: rows) into an array of type `arrow`."""
    if values.dtype.names:  # an array channel: its values come first, its axes after them
        values = values[values.dtype.names[0]]
    if pa.types.is_binary(arrow):
        return pa.array([bytes(row) for row in np.ascontiguousarray(values)], type=arrow, mask=mask)
    if pa.types.is_string(arrow):
        texts = [_decode(item, encoding) if isinstance(item, bytes) else str(item) for item in values.tolist()]
        return pa.array(texts, type=arrow, mask=mask)
    native = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)
    if native.ndim == 1:
        return pa.array(native, mask=mask).cast(arrow)
    flat = pa.array(native.reshape(-1))
    for count in reversed(native.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, count)
    if mask is None:
        return flat
    return flat.take(pa.array(np.arange(native.shape[0]), mask=mask))
