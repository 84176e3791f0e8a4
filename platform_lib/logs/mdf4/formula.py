"""Algebraic conversions: a formula of one variable is parsed by a grammar of our own, then evaluated by numexpr.

Nothing of the file's text reaches an evaluator but what this grammar wrote out again. Whole-number samples are
evaluated as float64, so that nothing wraps around; formulas with bit operators as int64. ``^`` is power.
Source of the grammar: ASAM MCD-2 MC expression syntax, as MDF 4.2 refers to it.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%^&|~!<>?:(),]))"
)
_FUNCTIONS = {
    "sin": ("sin", 1),
    "cos": ("cos", 1),
    "tan": ("tan", 1),
    "asin": ("arcsin", 1),
    "arcsin": ("arcsin", 1),
    "acos": ("arccos", 1),
    "arccos": ("arccos", 1),
    "atan": ("arctan", 1),
    "arctan": ("arctan", 1),
    "atan2": ("arctan2", 2),
    "arctan2": ("arctan2", 2),
    "sinh": ("sinh", 1),
    "cosh": ("cosh", 1),
    "tanh": ("tanh", 1),
    "exp": ("exp", 1),
    "ln": ("log", 1),
    "log": ("log", 1),
    "log10": ("log10", 1),
    "sqrt": ("sqrt", 1),
    "abs": ("abs", 1),
    "floor": ("floor", 1),
    "ceil": ("ceil", 1),
    "fmod": ("fmod", 2),
}
_CONSTANTS = {"inf": math.inf, "nan": math.nan, "pi": math.pi}
# Binary operators by how tightly they bind, loosest first.
_LEVELS: tuple[dict[str, str], ...] = (
    {"||": "|"},
    {"&&": "&"},
    {"|": "|"},
    {"&": "&"},
    {"==": "==", "!=": "!="},
    {"<": "<", "<=": "<=", ">": ">", ">=": ">="},
    {"<<": "<<", ">>": ">>"},
    {"+": "+", "-": "-"},
    {"*": "*", "/": "/", "%": "%"},
)
_BIT_SIGNS = frozenset({"&", "|", "<<", ">>", "~"})
_MOST_CHARACTERS = 4096
_MOST_DEPTH = 60
_MOST_WHOLE = 1 << 31


class FormulaError(ValueError):
    """A formula outside this grammar."""


class Formula:
    """A formula, ready to be evaluated."""

    def __init__(self, text: str) -> None:
        """Parse `text`.

        Raises:
            FormulaError: It is outside the grammar.
        """
        parser = _Parser(text)
        self._expression = parser.parse()
        self._whole = parser.bits

    def __call__(self, values: Values) -> Values:
        """Return the formula's value for each of (N,) `values`."""
        import numexpr

        x = values
        if values.dtype.kind in "uib":
            x = values.astype(np.int64 if self._whole else np.float64)
        constants = {"INF": math.inf, "NAN": math.nan}
        result = numexpr.evaluate(self._expression, {"X": x, **constants}, {}, sanitize=False)
        return np.array(np.broadcast_to(result, values.shape))


def is_formula(text: str) -> bool:
    """Whether a text is inside the grammar."""
    try:
        Formula(text)
    except FormulaError:
        return False
    return True


class _Parser:
    """Recursive descent; each method returns numexpr source."""

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            raise FormulaError(f"a formula of {len(text)} characters")
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self.bits = False

    def parse(self) -> str:
        source = self._choice()
        if self._at != len(self._tokens):
            raise FormulaError(f"'{self._tokens[self._at]}' is not expected")
        return source

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _accept(self, symbol: str) -> bool:
        found = self._next() == symbol
        self._at += found
        return found

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise FormulaError(f"'{symbol}' is missing")

    def _choice(self) -> str:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise FormulaError("nested too deep")
        source = self._binary(0)
        if self._accept("?"):
            yes = self._choice()
            self._expect(":")
            source = f"where({source}, {yes}, {self._choice()})"
        self._depth -= 1
        return source

    def _binary(self, level: int) -> str:
        if level == len(_LEVELS):
            return self._unary()
        source = self._binary(level + 1)
        while self._next() in _LEVELS[level]:
            sign = self._next()
            self._at += 1
            self.bits = self.bits or sign in _BIT_SIGNS
            source = f"({source} {_LEVELS[level][sign]} {self._binary(level + 1)})"
        return source

    def _unary(self) -> str:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise FormulaError("nested too deep")
        try:
            for sign in ("-", "+", "~", "!"):
                if self._accept(sign):
                    self.bits = self.bits or sign in _BIT_SIGNS
                    inner = self._unary()
                    return inner if sign == "+" else f"({'~' if sign == '!' else sign}{inner})"
            return self._power()
        finally:
            self._depth -= 1

    def _power(self) -> str:
        base = self._atom()
        if self._accept("**") or self._accept("^"):
            return _power(base, self._unary())
        return base

    def _atom(self) -> str:
        symbol = self._next()
        self._at += 1
        if symbol == "(":
            source = self._choice()
            self._expect(")")
            return source
        if symbol[:1].isdigit() or symbol[:1] == ".":
            return _number(symbol)
        if symbol.lower() in ("x", "x1"):
            return "X"
        if symbol.lower() in _CONSTANTS and self._next() != "(":
            return _number(repr(_CONSTANTS[symbol.lower()]))
        return self._call(symbol.lower())

    def _call(self, name: str) -> str:
        self._expect("(")
        arguments = [self._choice()]
        while self._accept(","):
            arguments.append(self._choice())
        self._expect(")")
        if name in _FUNCTIONS and len(arguments) == _FUNCTIONS[name][1]:
            return f"{_FUNCTIONS[name][0]}({', '.join(arguments)})"
        if name == "pow" and len(arguments) == 2:
            return _power(*arguments)
        if name in ("min", "max") and len(arguments) == 2:
            first, second = arguments
            return f"where({first} {'<' if name == 'min' else '>'} {second}, {first}, {second})"
        if name == "where" and len(arguments) == 3:
            return f"where({', '.join(arguments)})"
        raise FormulaError(f"no function '{name}' of {len(arguments)} arguments")


def _tokens(text: str) -> list[str]:
    found, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise FormulaError(f"'{text[at]}' is not expected")
        found.append(match.group(match.lastgroup or 0))
        at = match.end()
    return found


def _number(symbol: str) -> str:
    """Write a literal: whole numbers stay whole, so that float32 samples stay float32 as in asammdf."""
    if symbol in ("inf", "nan"):
        return symbol.upper()
    value = float(symbol)
    if not math.isfinite(value):
        return "INF"
    return str(int(value)) if symbol.isdecimal() and value < _MOST_WHOLE else repr(value)


def _power(base: str, exponent: str) -> str:
    """Write a power; one of literals is computed here, in float64, since numexpr would do it in unbounded integers."""
    if "X" in base or "X" in exponent:
        return f"({base} ** {exponent})"
    try:
        return repr(_constant(base) ** _constant(exponent))
    except (OverflowError, ZeroDivisionError, TypeError) as error:
        raise FormulaError("a power of constants that is no number") from error


def _constant(source: str) -> float:
    try:
        return float(source.strip("()"))
    except ValueError as error:
        raise FormulaError("a power of constant expressions") from error
