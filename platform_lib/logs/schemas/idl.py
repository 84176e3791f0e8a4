"""OMG IDL definitions (ros2idl, omgidl) -> a tree of types: the part of the language that data types need. Pure.

Source: OMG IDL 4.2, 7.4.1 (core data types), 7.4.13 (extended data types), 8.3 (standard annotations).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.schemas import kinds
from platform_lib.logs.schemas.kinds import Array, Extensibility, Primitive, Struct, Text, Type, Union

_BETWEEN_FILES = re.compile(r"^(?:=+[ \t\r]*|IDL:.*|#.*)$", re.MULTILINE)
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      |(?P<word>(?:::)?[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*)
      |(?P<number>\d[\w.]*(?:[eE][+-]?\d+)?)
      |(?P<text>L?"(?:[^"\\]|\\.)*"|L?'(?:[^'\\]|\\.)*')
      |(?P<sign>[{}()\[\]<>;:,=@+\-*/|&^~%.])""",
    re.VERBOSE | re.DOTALL,
)
_NUMBERS: dict[str, Primitive] = {
    "boolean": kinds.BOOL,
    "octet": kinds.UINT8,
    "char": kinds.UINT8,
    "int8": kinds.INT8,
    "uint8": kinds.UINT8,
    "short": kinds.INT16,
    "int16": kinds.INT16,
    "unsigned short": kinds.UINT16,
    "uint16": kinds.UINT16,
    "long": kinds.INT32,
    "int32": kinds.INT32,
    "unsigned long": kinds.UINT32,
    "uint32": kinds.UINT32,
    "long long": kinds.INT64,
    "int64": kinds.INT64,
    "unsigned long long": kinds.UINT64,
    "uint64": kinds.UINT64,
    "float": kinds.FLOAT32,
    "double": kinds.FLOAT64,
}
# What ROS 2 puts into a message without fields, and reads back as none.
_PLACEHOLDER = "structure_needs_at_least_one_member"
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class _Reference:
    """A type as written: its words, what is in its angle brackets, and its array dimensions, outermost first."""

    name: str
    inner: _Reference | None = None
    dimensions: tuple[int, ...] = ()


@dataclass(slots=True)
class _Definition:
    """A named type: a struct's or union's members, a typedef's target, an enum's values, or why it is not decoded."""

    scope: str
    members: list[tuple[str, _Reference]] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)  # ``None``: one more than that of the member before
    labels: list[list[str] | None] = field(default_factory=list)  # of a union's members; ``None``: all others
    base: str | None = None
    target: _Reference | None = None
    switch: _Reference | None = None
    values: list[tuple[int, str]] | None = None
    code: str = "u4"  # of an enum
    extensibility: Extensibility = ""
    unsupported: str | None = None


def parse_idl(message_type: str, text: str) -> Struct:
    """Parse IDL with all that it refers to.

    Args:
        message_type: The root type, ``package/msg/Name`` or ``package::msg::Name``.
        text: One or several IDL files; lines of ``=`` and ``IDL: ...`` may stand between them.

    Raises:
        UnsupportedLog: Something that is not IDL, or a type that is not decoded (maps, optional members, bit sets,
            mutable unions, ...).
    """
    parser = _Parser(message_type, _BETWEEN_FILES.sub("", text))
    parser.definitions("")
    return _Resolver(message_type, parser.found, parser.constants).root()


class _Parser:
    """Reads definitions; scoped names are joined with ``::``."""

    def __init__(self, root: str, text: str) -> None:
        self._root = root
        self._tokens = list(_tokens(root, text))
        self._at = 0
        self.found: dict[str, _Definition] = {}
        self.constants: dict[str, int] = {}

    # -- tokens --------------------------------------------------------------------------------------------------

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise _unsupported(self._root, f"{found[:40]!r} where {token!r} belongs")

    def _accept(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _skip_to(self, closing: str, opening: str = "") -> None:
        """Pass everything up to the `closing` that belongs to an `opening` already passed."""
        depth = 1
        while depth:
            token = self._next()
            if not token:
                raise _unsupported(self._root, "a definition that does not end")
            depth += (token == opening) - (token == closing)

    # -- definitions ---------------------------------------------------------------------------------------------

    def definitions(self, scope: str, depth: int = 0) -> None:
        """Read definitions up to a closing brace or the end."""
        if depth > _DEEPEST:
            raise _unsupported(self._root, f"modules nested more than {_DEEPEST} deep")
        while self._peek() not in ("", "}"):
            notes = self._annotations()
            word = self._next()
            match word:
                case "module":
                    name = self._next()
                    self._expect("{")
                    self.definitions(_join(scope, name), depth + 1)
                    self._expect("}")
                case "struct":
                    self._struct(scope, notes)
                case "typedef":
                    self._typedef(scope)
                case "enum":
                    self._enum(scope, notes)
                case "const":
                    self._constant(scope)
                case "union":
                    self._union(scope, notes)
                case "bitmask" | "bitset" | "interface" | "valuetype":
                    self._other(scope, word)
                    self._skip_to("}", "{")
                case "":
                    return
                case _:
                    raise _unsupported(self._root, f"{word[:40]!r} where a definition belongs")
            self._accept(";")
        if depth == 0 and self._peek():
            raise _unsupported(self._root, "a closing brace too many")

    def _annotations(self) -> dict[str, str]:
        """Read ``@name`` and ``@name(...)``; return their arguments as written."""
        found: dict[str, str] = {}
        while self._accept("@"):
            name = self._next()
            start = self._at + 1
            if self._accept("("):
                self._skip_to(")", "(")
                found[name] = " ".join(self._tokens[start : self._at - 1])
            else:
                found[name] = ""
        return found

    def _other(self, scope: str, word: str) -> None:
        name = self._next()
        self.found[_join(scope, name)] = _Definition(scope, unsupported=f"'{name}', a {word}")
        while self._next() not in ("{", ""):
            pass

    def _struct(self, scope: str, notes: dict[str, str]) -> None:
        name = self._next()
        if self._peek() == ";":
            return  # declared here, defined elsewhere
        definition = _Definition(scope, extensibility=_extensibility(notes))
        by_name = "autoid" in notes and notes["autoid"] != "SEQUENTIAL"
        if self._accept(":"):
            definition.base = self._next()
        self._expect("{")
        while not self._accept("}"):
            member_notes = self._annotations()
            written = self._type(scope)
            while True:
                member = self._next()
                if "optional" in member_notes and "FALSE" not in member_notes["optional"].upper():
                    definition.unsupported = f"'{name}.{member}', an optional member"
                definition.members.append((member, self._dimensions(scope, written)))
                definition.ids.append(self._id(member, member_notes, by_name=by_name))
                if not self._accept(","):
                    break
            self._expect(";")
        self.found.setdefault(_join(scope, name), definition)

    def _id(self, member: str, notes: dict[str, str], *, by_name: bool) -> int | None:
        if "id" in notes:
            return self._whole(notes["id"].removeprefix("value = "))
        if "hashid" not in notes and not by_name:
            return None
        # Source: OMG DDS-XTypes 1.3, 7.3.1.2.1.1 (@hashid, @autoid)
        text = notes.get("hashid", "").strip('"') or member
        digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest[:4], "little") & 0x0FFF_FFFF

    def _union(self, scope: str, notes: dict[str, str]) -> None:
        name = self._next()
        if self._peek() == ";":
            return  # declared here, defined elsewhere
        definition = _Definition(scope, extensibility=_extensibility(notes))
        for token in ("switch", "("):
            self._expect(token)
        self._annotations()
        definition.switch = self._type(scope)
        for token in (")", "{"):
            self._expect(token)
        while not self._accept("}"):
            definition.labels.append(self._labels())
            self._annotations()
            written = self._type(scope)
            member = self._next()
            definition.members.append((member, self._dimensions(scope, written)))
            self._expect(";")
        if definition.extensibility == "mutable":
            definition.unsupported = f"'{name}', a mutable union"
        self.found.setdefault(_join(scope, name), definition)

    def _labels(self) -> list[str] | None:
        """Read ``case A: case B:``; ``None`` where ``default:`` is among them."""
        found: list[str] = []
        others = False
        while self._peek() in ("case", "default"):
            others |= self._peek() == "default"
            start = self._at + 1
            self._skip_to(":")
            found.append("".join(self._tokens[start : self._at - 1]))
        if not found:
            raise _unsupported(self._root, f"{self._peek()[:40]!r} where a case belongs")
        return None if others else found

    def _typedef(self, scope: str) -> None:
        written = self._type(scope)
        while True:
            name = self._next()
            target = self._dimensions(scope, written)
            self.found.setdefault(_join(scope, name), _Definition(scope, target=target))
            if not self._accept(","):
                break

    def _enum(self, scope: str, notes: dict[str, str]) -> None:
        name = self._next()
        values: list[tuple[int, str]] = []
        self._expect("{")
        number = 0
        while not self._accept("}"):
            given = self._annotations().get("value")
            if given is not None:
                number = self._whole(given)
            values.append((number, self._next()))
            number += 1
            self._accept(",")
        bits = self._whole(notes.get("bit_bound", "32").removeprefix("value = "))
        code = next((code for most, code in ((8, "u1"), (16, "u2"), (32, "u4")) if bits <= most), "")
        reason = None if code else f"'{name}', an enum of {bits} bits"
        self.found.setdefault(_join(scope, name), _Definition(scope, values=values, code=code, unsupported=reason))

    def _constant(self, scope: str) -> None:
        self._type(scope)
        name = self._next()
        self._expect("=")
        start = self._at
        self._skip_to(";")
        self._at -= 1
        text = " ".join(self._tokens[start : self._at])
        if re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", text):
            self.constants[_join(scope, name)] = self._whole(text)

    def _whole(self, text: str) -> int:
        try:
            return int(text, 0) if not re.fullmatch(r"0[0-7]+", text) else int(text, 8)
        except ValueError:
            raise _unsupported(self._root, f"the number {text[:40]!r}") from None

    # -- types ---------------------------------------------------------------------------------------------------

    def _type(self, scope: str, depth: int = 0) -> _Reference:
        if depth > _DEEPEST:
            raise _unsupported(self._root, f"sequences nested more than {_DEEPEST} deep")
        word = self._next()
        if word == "sequence":
            self._expect("<")
            inner = self._type(scope, depth + 1)
            if self._accept(","):
                self._next()  # the bound: whatever is there is read
            self._expect(">")
            return _Reference("sequence", inner)
        if word in ("string", "wstring"):
            if self._accept("<"):
                self._next()
                self._expect(">")
            return _Reference(word)
        if word in ("map", "fixed", "any", "wchar"):
            raise _unsupported(self._root, f"a {word}")
        while f"{word} {self._peek()}" in (*_NUMBERS, "unsigned long", "long double"):
            word = f"{word} {self._next()}"
        if word == "long double":
            raise _unsupported(self._root, "a long double")
        if not re.match(r"[A-Za-z_:]", word):
            raise _unsupported(self._root, f"{word[:40]!r} where a type belongs")
        return _Reference(word)

    def _dimensions(self, scope: str, written: _Reference) -> _Reference:
        sizes = []
        while self._accept("["):
            sizes.append(self._size(scope))
            self._expect("]")
        return _Reference(written.name, written.inner, tuple(sizes)) if sizes else written

    def _size(self, scope: str) -> int:
        token = self._next()
        if token[:1].isdigit():
            return self._whole(token)
        for name in _candidates(scope, token):
            if name in self.constants:
                return self.constants[name]
        raise _unsupported(self._root, f"the array size {token[:40]!r}")


class _Resolver:
    def __init__(self, root: str, found: dict[str, _Definition], constants: dict[str, int]) -> None:
        self._root = root
        self._found = found
        self._constants = constants
        self._done: dict[str, Type] = {}
        self._open: list[str] = []

    def root(self) -> Struct:
        name = self._root.replace("/", "::")
        parts = name.split("::")
        names = [name, f"{parts[0]}::msg::{parts[1]}"] if len(parts) == 2 else [name]
        for candidate in names:
            if candidate in self._found:
                kind = self._named(candidate)
                if isinstance(kind, Struct):
                    return kind
                raise _unsupported(self._root, "a root that is no struct")
        raise _unsupported(self._root, f"'{name}', which it does not define")

    def _named(self, name: str) -> Type:
        if name not in self._done:
            if name in self._open:
                raise _unsupported(self._root, f"the recursive type '{name}'")
            self._open.append(name)
            self._done[name] = self._build(name, self._found[name])
            self._open.pop()
        return self._done[name]

    def _build(self, name: str, definition: _Definition) -> Type:
        if definition.unsupported is not None:
            raise _unsupported(self._root, definition.unsupported)
        if definition.target is not None:
            return self._type(definition.target, definition.scope)
        if definition.values is not None:
            arrow = {"u1": kinds.UINT8, "u2": kinds.UINT16, "u4": kinds.UINT32}[definition.code].arrow
            return Primitive(definition.code, arrow, tuple(definition.values))
        if definition.switch is not None:
            return self._union(name, definition, definition.switch)
        fields: list[tuple[str, Type]] = []
        ids: list[int] = []
        if definition.base is not None:
            base = self._type(_Reference(definition.base), definition.scope)
            if not isinstance(base, Struct):
                raise _unsupported(self._root, f"'{name}', derived from what is no struct")
            fields.extend(base.fields)
            ids.extend(base.ids)
        # A member's type is looked up from inside its struct's scope.
        fields.extend((member, self._type(written, definition.scope)) for member, written in definition.members)
        for given in definition.ids:
            ids.append(given if given is not None else ids[-1] + 1 if ids else 0)
        if [member for member, _ in fields] == [_PLACEHOLDER]:
            fields, ids = [], []
        return Struct(name, tuple(fields), definition.extensibility, tuple(ids))

    def _union(self, name: str, definition: _Definition, switch: _Reference) -> Union:
        tag = self._type(switch, definition.scope)
        if not isinstance(tag, Primitive) or tag.code[0] == "f":
            raise _unsupported(self._root, f"'{name}', a union told apart by '{switch.name}'")
        cases: list[tuple[str, Type, tuple[int, ...] | None]] = []
        for (member, written), labels in zip(definition.members, definition.labels, strict=True):
            values = None if labels is None else tuple(self._label(item, tag, definition.scope) for item in labels)
            cases.append((member, self._type(written, definition.scope), values))
        known = [value for _, _, values in cases for value in values or ()]
        if len(set(known)) < len(known) or [values for _, _, values in cases].count(None) > 1:
            raise _unsupported(self._root, f"'{name}', a union with a case twice")
        return Union(name, tag, tuple(cases), definition.extensibility)

    def _label(self, text: str, tag: Primitive, scope: str) -> int:
        """Return the discriminator's value that a case names."""
        if text in ("TRUE", "FALSE"):
            return int(text == "TRUE")
        if re.fullmatch(r"'[^'\\]'", text):
            return ord(text[1])
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|[1-9]\d*|0)", text):
            return int(text, 0)
        by_name = {word: value for value, word in tag.choices}
        if (word := text.rpartition("::")[2]) in by_name:
            return by_name[word]
        for candidate in _candidates(scope, text):
            if candidate in self._constants:
                return self._constants[candidate]
        raise _unsupported(self._root, f"the case {text[:40]!r}")

    def _type(self, written: _Reference, scope: str) -> Type:
        kind = self._simple(written, scope)
        for place in range(len(written.dimensions) - 1, -1, -1):
            kind = Array(kind, written.dimensions[place], dimension=place > 0)
        return kind

    def _simple(self, written: _Reference, scope: str) -> Type:
        if written.inner is not None:
            return Array(self._type(written.inner, scope), None)
        if written.name in _NUMBERS:
            return _NUMBERS[written.name]
        if written.name in ("string", "wstring"):
            return Text(wide=written.name == "wstring")
        for candidate in _candidates(scope, written.name):
            if candidate in self._found:
                return self._named(candidate)
        raise _unsupported(self._root, f"'{written.name}', which it does not define")


def _extensibility(notes: dict[str, str]) -> Extensibility:
    given = f"{notes.get('extensibility', '')} {' '.join(notes)}".lower()
    kinds_named: tuple[Extensibility, ...] = ("final", "appendable", "mutable")
    return next((word for word in kinds_named if word in given.split()), "")


def _candidates(scope: str, name: str) -> list[str]:
    """Return what a name may mean, innermost scope first."""
    if name.startswith("::"):
        return [name[2:]]
    parts = scope.split("::") if scope else []
    return [_join("::".join(parts[:count]), name) for count in range(len(parts), -1, -1)]


def _join(scope: str, name: str) -> str:
    return f"{scope}::{name}" if scope else name


def _tokens(root: str, text: str) -> list[str]:
    found = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unsupported(root, f"the text {text[at : at + 40]!r}")
        if match.lastgroup != "space":
            found.append(match[0])
        at = match.end()
    return found


def _unsupported(where: str, what: str) -> UnsupportedLog:
    return UnsupportedLog(
        f"the message definition holds {what}", where=where, remedy="read the payload with decode=False"
    )
