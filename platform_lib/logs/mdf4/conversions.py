"""Conversions: raw samples -> physical ones. Vectorised, and of a type that never depends on the samples at hand.

A conversion to text makes the whole column text: a raw value that a table leaves numeric is written in its shortest
decimal form. Results equal asammdf's, except where it departs from the standard: its value-range tables give wrong
values for whole-number samples, and its formulas wrap around at 32 bits.
Source: ASAM MDF 4.2, CC block, cc_type 0 to 11.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.logs.mdf4.formula import Formula, FormulaError
from platform_lib.logs.mdf4.model import Conversion

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
Scalar = int | float | str
_LOOKUP_BITS = 16  # raw types this wide or less are converted to text through a table of all their values
_MOST_WORDS = 1 << 16
_MOST_SHORT = 1 << 28  # texts of up to eight bytes whose places 32 bits can count
_SLACK_BYTES = 8  # after the words, so that the last one can be read by eights


class Rule(IntEnum):
    """cc_type."""

    IDENTITY = 0
    LINEAR = 1
    RATIONAL = 2
    ALGEBRAIC = 3
    INTERPOLATION = 4
    NEAREST = 5
    RANGE_TO_VALUE = 6
    VALUE_TO_TEXT = 7
    RANGE_TO_TEXT = 8
    TEXT_TO_VALUE = 9
    TEXT_TO_TEXT = 10
    BIT_FIELD = 11


TEXT_RULES = frozenset({Rule.VALUE_TO_TEXT, Rule.RANGE_TO_TEXT, Rule.BIT_FIELD})
FROM_TEXT_RULES = frozenset({Rule.TEXT_TO_VALUE, Rule.TEXT_TO_TEXT})


class ConversionError(ValueError):
    """A conversion that this module does not evaluate, and why."""


def numeric(conversion: Conversion | None) -> Callable[[Values], Values]:
    """Return the function of a conversion from numbers to numbers; (N,) to (N,).

    Raises:
        ConversionError: It is of another kind, or its parameters are incomplete.
    """
    if conversion is None or conversion.kind == Rule.IDENTITY:
        return _identity
    if (scale := scaling(conversion)) is not None:
        return _scaled(*scale)
    makers: dict[int, Callable[[Conversion], Callable[[Values], Values]]] = {
        Rule.RATIONAL: _rational,
        Rule.ALGEBRAIC: _algebraic,
        Rule.INTERPOLATION: _interpolation,
        Rule.NEAREST: _nearest,
        Rule.RANGE_TO_VALUE: _range_to_value,
    }
    if conversion.kind not in makers:
        raise ConversionError(f"a conversion of type {conversion.kind} does not fit a number")
    return makers[conversion.kind](conversion)


def is_identity(conversion: Conversion | None) -> bool:
    """Whether a conversion changes nothing."""
    if conversion is None or conversion.kind == Rule.IDENTITY:
        return True
    if conversion.kind == Rule.LINEAR:
        return conversion.values[:2] == (0.0, 1.0)
    return conversion.kind == Rule.RATIONAL and (
        conversion.values[:6] in {(0.0, p, 0.0, 0.0, 0.0, p) for p in conversion.values[1:2]}
    )


def formulas(conversion: Conversion) -> Iterator[str]:
    """Yield the formulas of a conversion and of all that it refers to."""
    for item in conversion.references:
        if isinstance(item, Conversion):
            yield from formulas(item)
        elif conversion.kind == Rule.ALGEBRAIC and item is not None:
            yield item


def _identity(values: Values) -> Values:
    return values


def _parameters(conversion: Conversion, least: int) -> tuple[float, ...]:
    if len(conversion.values) < least:
        raise ConversionError(f"a conversion of type {conversion.kind} has {len(conversion.values)} parameters")
    return conversion.values


def scaling(conversion: Conversion) -> tuple[float, float] | None:
    """Return the factor and the offset of a conversion that only has these, ``None`` for others.

    Raises:
        ConversionError: Its parameters are incomplete.
    """
    if conversion.kind == Rule.LINEAR:
        offset, factor = _parameters(conversion, 2)[:2]
        return factor, offset
    if conversion.kind != Rule.RATIONAL:
        return None
    p1, p2, p3, p4, p5, p6 = _parameters(conversion, 6)[:6]
    if (p1, p3, p4, p5) == (0.0, 0.0, 0.0, 0.0) and p6:
        return p2 / p6, 0.0
    return (p1 / p5, 0.0) if (p2, p3, p4, p6) == (0.0, 0.0, 0.0, 0.0) and p5 else None


def _scaled(factor: float, offset: float) -> Callable[[Values], Values]:
    if (factor, offset) == (1.0, 0.0):
        return _identity

    def convert(values: Values) -> Values:
        result = values * factor
        if offset:
            result += offset
        return result

    return convert


def _rational(conversion: Conversion) -> Callable[[Values], Values]:
    p1, p2, p3, p4, p5, p6 = conversion.values[:6]

    def convert(values: Values) -> Values:
        # The square is taken in the sample's own width, as asammdf does; of whole numbers it must not wrap around.
        x = values.astype(np.float64) if values.dtype.kind in "uib" else values
        square = (x * x).astype(np.float64)
        x = x.astype(np.float64)
        with np.errstate(all="ignore"):  # dividing by zero gives what IEEE 754 says: that is the value there
            result: Values = (p1 * square + p2 * x + p3) / (p4 * square + p5 * x + p6)
        return result

    return convert


def _algebraic(conversion: Conversion) -> Callable[[Values], Values]:
    text = conversion.references[0] if conversion.references else None
    if not isinstance(text, str):
        raise ConversionError("an algebraic conversion has no formula")
    try:
        formula = Formula(text)
        formula(np.ones(1))  # numexpr checks what remains
    except (FormulaError, ArithmeticError, TypeError, ValueError, NotImplementedError, LookupError) as error:
        raise ConversionError(f"its formula '{text[:60]}' is not read ({error})") from error
    return formula


def _pairs(conversion: Conversion) -> tuple[Values, Values]:
    values = np.array(_parameters(conversion, 2))
    values = values[: values.size // 2 * 2].reshape(-1, 2)
    return np.ascontiguousarray(values[:, 0]), np.ascontiguousarray(values[:, 1])


def _interpolation(conversion: Conversion) -> Callable[[Values], Values]:
    raw, physical = _pairs(conversion)
    return lambda values: np.interp(values, raw, physical)


def _nearest(conversion: Conversion) -> Callable[[Values], Values]:
    raw, physical = _pairs(conversion)

    def convert(values: Values) -> Values:
        above = np.minimum(np.searchsorted(raw, values), raw.size - 1)
        below = np.maximum(above - 1, 0)
        lower = np.abs(values - raw[above]) >= np.abs(values - raw[below])
        return np.where(lower, physical[below], physical[above])

    return convert


def _range_to_value(conversion: Conversion) -> Callable[[Values], Values]:
    parameters = _parameters(conversion, 1)
    count = (len(parameters) - 1) // 3
    table = np.array(parameters[: 3 * count]).reshape(-1, 3)
    lower, upper, physical = (np.ascontiguousarray(table[:, at]) for at in range(3))
    default = parameters[-1]

    def convert(values: Values) -> Values:
        # Whole numbers: lower <= x <= upper. Others: lower <= x < upper. Ranges ascend and do not overlap.
        first = np.searchsorted(lower, values, "right") - 1
        last = np.searchsorted(upper, values, "right" if values.dtype.kind == "f" else "left")
        hit = first == last
        result = np.full(values.shape, default)
        result[hit] = physical[first[hit]]
        return result

    return convert


# -- to text -----------------------------------------------------------------------------------------------------------


class ToText:
    """A conversion whose column is text. Each distinct value's text is made once. Several threads may use it."""

    def __init__(self, conversion: Conversion) -> None:
        """Check the conversion.

        Raises:
            ConversionError: It is not evaluated.
        """
        self._word = scalar_text(conversion)
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._known: dict[Scalar, int] = {}
        self._bounds = np.zeros(1, np.int64)
        self._words: Bytes = np.zeros(_SLACK_BYTES, np.uint8)
        self._codes: Values | None = None
        self._short: tuple[Values, Values] | None = None

    def __call__(self, values: Values, mask: Values | None) -> pa.Array:
        """Return (N,) texts of (N,) raw numbers; null where `mask`. All numbers are of one type."""
        narrow = values.dtype.kind in "ui" and values.dtype.itemsize * 8 <= _LOOKUP_BITS
        with self._lock:
            if len(self._known) > _MOST_WORDS:
                self._forget()
            offsets, text = self._looked_up(values) if narrow else self._searched(values)
        validity = None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little"))
        buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(text)]
        return pa.Array.from_buffers(pa.string(), values.size, buffers)

    def _learn(self, values: list[Scalar]) -> list[int]:
        """Return the numbers of the words of distinct values, after making those that are new."""
        new = [value for value in values if value not in self._known]
        words = [self._word(value).encode() for value in new]
        self._known.update(zip(new, itertools.count(len(self._known)), strict=False))
        stops = self._bounds[-1] + np.cumsum([len(word) for word in words], dtype=np.int64)
        self._bounds = np.concatenate([self._bounds, stops])
        whole = bytearray().join([self._words[:-_SLACK_BYTES].tobytes(), *words, bytes(_SLACK_BYTES)])
        self._words = np.frombuffer(whole, np.uint8)
        return [self._known[value] for value in values]

    def _searched(self, values: Values) -> tuple[Values, Bytes]:
        from platform_lib.logs.mdf4.kernels import spell

        distinct, inverse = np.unique(values, return_inverse=True)
        codes = np.array(self._learn(distinct.tolist()), np.int32)
        return spell(inverse.reshape(-1), codes, self._bounds, self._words)

    def _looked_up(self, values: Values) -> tuple[Values, Bytes]:
        """Find words through a table of the type's bit patterns, filled as they are met."""
        from platform_lib.logs.mdf4.kernels import MissingWord, mark

        patterns = values.view(f"u{values.dtype.itemsize}")
        if self._codes is None:
            self._codes = np.full(1 << values.dtype.itemsize * 8, -1, np.int32)
        try:
            return self._spelled(patterns, self._codes)
        except MissingWord:
            seen = np.zeros(self._codes.size, bool)
            mark(patterns, seen)
            met = np.flatnonzero(seen).astype(patterns.dtype)
            self._codes[met] = self._learn(met.view(values.dtype).tolist())
            self._short = self._short_words(self._codes)
        return self._spelled(patterns, self._codes)

    def _spelled(self, patterns: Values, codes: Values) -> tuple[Values, Bytes]:
        from platform_lib.logs.mdf4.kernels import spell, spell_short

        if self._short is not None and patterns.size < _MOST_SHORT:
            return spell_short(patterns, *self._short)
        return spell(patterns, codes, self._bounds, self._words)

    def _short_words(self, codes: Values) -> tuple[Values, Values] | None:
        """Return each pattern's length (-1 where it was not met) and bytes as one number; None where a word is too long."""
        lengths = self._bounds[1:] - self._bounds[:-1]
        if int(lengths.max(initial=0)) > _SLACK_BYTES:
            return None
        words = self._words[self._bounds[:-1, None] + np.arange(_SLACK_BYTES)].view("<u8").reshape(-1)
        return np.where(codes < 0, -1, lengths[codes]).astype(np.int32), words[codes]


def scalar_text(conversion: Conversion) -> Callable[[Scalar], str]:
    """Return the text of one raw value under a conversion."""
    value_of = _scalar(conversion, 0)
    return lambda value: _written(value_of(value))


def _written(value: Scalar) -> str:
    if isinstance(value, str):
        return value
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)


def _scalar(item: Conversion | str | None, depth: int) -> Callable[[Scalar], Scalar]:
    """Return the function of one value: of a text reference that text, of no reference nothing."""
    if item is None:
        return lambda _: ""
    if isinstance(item, str):
        return lambda _: item
    if item.kind == Rule.VALUE_TO_TEXT:
        return _value_to_text(item, depth)
    if item.kind == Rule.RANGE_TO_TEXT:
        return _range_to_text(item, depth)
    if item.kind == Rule.BIT_FIELD:
        return _bit_field(item, depth)
    function = numeric(item)

    def convert(value: Scalar) -> Scalar:
        with np.errstate(all="ignore"):
            result: Scalar = function(np.array([value])).tolist()[0]
        return result

    return convert


def _value_to_text(conversion: Conversion, depth: int) -> Callable[[Scalar], Scalar]:
    keys, references = conversion.values, conversion.references
    if len(references) != len(keys) + 1:
        raise ConversionError(f"a value table has {len(keys)} values and {len(references)} texts")
    chosen: dict[float, Conversion | str | None] = {}
    for key, reference in zip(keys, references, strict=False):
        before = chosen.get(key)
        both = isinstance(before, str) and isinstance(reference, str)
        chosen[key] = (min(before, reference) if both else before) if key in chosen else reference  # type: ignore[type-var] # both are texts
    table = {key: _scalar(reference, depth + 1) for key, reference in chosen.items()}
    default = _scalar(references[-1], depth + 1)
    return lambda value: table.get(value, default)(value)  # type: ignore[arg-type] # a text is no key, so it is not found


def _range_to_text(conversion: Conversion, depth: int) -> Callable[[Scalar], Scalar]:
    limits, references = conversion.values, conversion.references
    count = len(references) - 1
    if count < 0 or len(limits) < 2 * count:
        raise ConversionError(f"a range table has {len(limits)} limits and {len(references)} texts")
    ranges = sorted(
        ((limits[2 * at], limits[2 * at + 1], _scalar(references[at], depth + 1)) for at in range(count)),
        key=lambda item: item[:2],
    )
    default = _scalar(references[count], depth + 1)

    def convert(value: Scalar) -> Scalar:
        if isinstance(value, str):
            return default(value)
        for low, high, result in ranges:
            if low <= value < high or (value == high and isinstance(value, int)):
                return result(value)
        return default(value)

    return convert


def _bit_field(conversion: Conversion, depth: int) -> Callable[[Scalar], Scalar]:
    masks, references = conversion.values, conversion.references
    parts = [
        (int(mask), item.name if isinstance(item, Conversion) else "", _scalar(item, depth + 1))
        for mask, item in zip(masks, references, strict=False)
    ]

    def convert(value: Scalar) -> Scalar:
        if isinstance(value, str) or value != value or value in (float("inf"), float("-inf")) or value != int(value):
            return ""
        found = []
        for mask, name, part in parts:
            text = _written(part(int(value) & mask))
            found.append(f"{name}={text}" if name else text)
        return "|".join(filter(None, found))

    return convert


# -- from text ---------------------------------------------------------------------------------------------------------


def from_text(conversion: Conversion) -> tuple[dict[str, Scalar], Scalar]:
    """Return a text table and its default: numbers for text-to-value, texts for text-to-text.

    Raises:
        ConversionError: It is no such table, or incomplete.
    """
    references = [item if isinstance(item, str) else "" for item in conversion.references]
    if conversion.kind == Rule.TEXT_TO_VALUE:
        if len(conversion.values) != len(references) + 1:
            raise ConversionError("a text table lacks values")
        pairs: list[tuple[str, Scalar]] = list(zip(references, conversion.values, strict=False))
        return dict(reversed(pairs)), conversion.values[-1]
    if conversion.kind == Rule.TEXT_TO_TEXT and len(references) % 2:
        words: list[tuple[str, Scalar]] = list(zip(references[:-1:2], references[1::2], strict=True))
        return dict(reversed(words)), references[-1]
    raise ConversionError(f"a conversion of type {conversion.kind} does not fit a text")
