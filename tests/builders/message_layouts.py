"""Message types that hypothesis makes up, as IDL, as .msg, and as the classes of the libraries that read them too."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import new_class
from typing import Any

import numpy as np
import pycdr2
import pycdr2.types as cdr
from hypothesis import strategies as st
from pycdr2 import annotations

# Name in .msg -> name in IDL, type in pycdr2, struct code.
PRIMITIVES: dict[str, tuple[str, Any, str]] = {
    "int8": ("int8", cdr.int8, "b"),
    "uint8": ("uint8", cdr.uint8, "B"),
    "int16": ("short", cdr.int16, "h"),
    "uint16": ("unsigned short", cdr.uint16, "H"),
    "int32": ("long", cdr.int32, "i"),
    "uint32": ("unsigned long", cdr.uint32, "I"),
    "int64": ("long long", cdr.int64, "q"),
    "uint64": ("unsigned long long", cdr.uint64, "Q"),
    "float32": ("float", cdr.float32, "f"),
    "float64": ("double", cdr.float64, "d"),
    "bool": ("boolean", bool, "?"),
}


@dataclass(frozen=True)
class Kind:
    """A field's type: `item` alone, `count` of them, or, without a count, a sequence where `many`."""

    item: str | Layout
    many: bool = False
    count: int | None = None


@dataclass(frozen=True)
class Layout:
    """A message type; its name is unique in its tree."""

    extensibility: str
    fields: tuple[Kind, ...]
    name: str = "Root"

    def parts(self) -> Iterator[Layout]:
        """Yield it and the types in it, those that are needed first."""
        for kind in self.fields:
            if isinstance(kind.item, Layout):
                yield from kind.item.parts()
        yield self

    @property
    def mutable(self) -> bool:
        """Whether any part of it is."""
        return any(part.extensibility == "mutable" for part in self.parts())


def _named(layout: Layout, name: str) -> Layout:
    fields = tuple(
        Kind(_named(kind.item, f"{name}F{at}"), kind.many, kind.count) if isinstance(kind.item, Layout) else kind
        for at, kind in enumerate(layout.fields)
    )
    return Layout(layout.extensibility, fields, name)


def layouts(extensibilities: tuple[str, ...] = ("final", "appendable", "mutable")) -> st.SearchStrategy[Layout]:
    """Message types of up to three levels."""

    def of(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Layout]:
        kinds = st.one_of(
            st.builds(Kind, items),
            st.builds(Kind, items, st.just(True)),
            st.builds(Kind, items, st.just(True), st.integers(1, 3)),
        )
        fields = st.lists(kinds, min_size=1, max_size=5).map(tuple)
        return st.builds(Layout, st.sampled_from(extensibilities), fields)

    flat = st.sampled_from([*PRIMITIVES, "string"])
    one = of(flat)
    two = of(st.one_of(flat, one))
    return of(st.one_of(flat, one, two)).map(lambda layout: _named(layout, "Root"))


def as_idl(layout: Layout) -> str:
    """Return it with what it needs as IDL."""
    return "\n".join(_idl_struct(part) for part in layout.parts())


def _idl_struct(layout: Layout) -> str:
    members = []
    for at, kind in enumerate(layout.fields):
        item = kind.item.name if isinstance(kind.item, Layout) else PRIMITIVES.get(kind.item, (kind.item,))[0]
        if kind.many and kind.count is None:
            item = f"sequence<{item}>"
        members.append(f"  {item} f{at}{f'[{kind.count}]' if kind.count else ''};")
    return "\n".join([f"@{layout.extensibility}", f"struct {layout.name} {{", *members, "};"])


def as_msg(layout: Layout) -> tuple[str, dict[str, str]]:
    """Return it as .msg text with what it needs, and each type's own text by name."""
    texts = {}
    for part in layout.parts():
        lines = []
        for at, kind in enumerate(part.fields):
            item = f"made/{kind.item.name}" if isinstance(kind.item, Layout) else kind.item
            lines.append(f"{item}{f'[{kind.count or str()}]' if kind.many else ''} f{at}")
        texts[part.name] = "\n".join(lines) + "\n"
    whole = texts[layout.name]
    for name, text in texts.items():
        if name != layout.name:
            whole += f"{'=' * 80}\nMSG: made/{name}\n{text}"
    return whole, texts


def as_class(layout: Layout) -> Any:
    """Return it as a class of pycdr2."""
    fields = {}
    for at, kind in enumerate(layout.fields):
        item = as_class(kind.item) if isinstance(kind.item, Layout) else PRIMITIVES.get(kind.item, (0, str))[1]
        if kind.many:
            item = cdr.array[item, kind.count] if kind.count else cdr.sequence[item]
        fields[f"f{at}"] = item
    body = {"__annotations__": fields, "__module__": __name__}
    made = new_class(layout.name, (pycdr2.IdlStruct,), {"typename": layout.name}, lambda space: space.update(body))
    annotate = {"final": annotations.final, "appendable": annotations.appendable, "mutable": annotations.mutable}
    return annotate[layout.extensibility](dataclass(made))


def value(layout: Layout, rng: random.Random) -> dict[str, Any]:
    """Return a message of the type, its fields by name."""
    found = {}
    for at, kind in enumerate(layout.fields):
        count = kind.count or (rng.choice([0, 1, 2, 5]) if kind.many else 1)
        items = [_item(kind.item, rng) for _ in range(count)]
        found[f"f{at}"] = items if kind.many else items[0]
    return found


def _item(item: str | Layout, rng: random.Random) -> Any:
    if isinstance(item, Layout):
        return value(item, rng)
    if item == "string":
        return "".join(rng.choices("aé€", k=rng.randrange(5)))
    code = PRIMITIVES[item][2]
    data = bytes([rng.randrange(2)]) if code == "?" else rng.randbytes(struct.calcsize(code))
    (number,) = struct.unpack("<" + code, data)
    return 0.5 if code in "fd" and not math.isfinite(number) else number


def as_object(layout: Layout, made: Any, values: dict[str, Any]) -> Any:
    """Return a message as an instance of its pycdr2 class."""
    hints = made.__annotations__
    given = {}
    for at, kind in enumerate(layout.fields):
        one = values[f"f{at}"]
        if isinstance(kind.item, Layout):
            inner = _inner(hints[f"f{at}"]) if kind.many else hints[f"f{at}"]
            given[f"f{at}"] = (
                [as_object(kind.item, inner, item) for item in one] if kind.many else as_object(kind.item, inner, one)
            )
        else:
            given[f"f{at}"] = one
    return made(**given)


def _inner(hint: Any) -> Any:
    return hint.__metadata__[0].subtype


def as_ros(store: Any, layout: Layout, values: dict[str, Any]) -> Any:
    """Return a message as an instance of its class in a type store of rosbags."""
    given = {}
    for at, kind in enumerate(layout.fields):
        one = values[f"f{at}"]
        if isinstance(kind.item, Layout):
            given[f"f{at}"] = (
                [as_ros(store, kind.item, item) for item in one] if kind.many else as_ros(store, kind.item, one)
            )
        elif kind.many and kind.item != "string":
            given[f"f{at}"] = np.array(one, np.dtype(PRIMITIVES[kind.item][2]))
        else:
            given[f"f{at}"] = one
    return store.types[f"made/msg/{layout.name}"](**given)


def plain(found: Any) -> Any:
    """Return a message, whoever decoded it, as dictionaries and lists."""
    if isinstance(found, dict):
        return {name: plain(item) for name, item in found.items()}
    if isinstance(found, bytes | list | tuple | np.ndarray):
        return [plain(item) for item in (found.tolist() if isinstance(found, np.ndarray) else found)]
    if hasattr(found, "__dataclass_fields__"):
        return {name: plain(getattr(found, name)) for name in found.__dataclass_fields__ if name[0] == "f"}
    return found
