"""XCDR version 2 and unions: vectors from the standard and other writers, and a plain encoder as the other side."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cdr import message_decoder
from platform_lib.logs.schemas.idl import parse_idl
from platform_lib.logs.schemas.kinds import Array, Primitive, Struct, Text, Type, Union


def decoded(root: str, idl: str, payloads: list[bytes], wanted: list[int] | None = None) -> list[dict[str, Any]]:
    decoder = message_decoder(root, idl, "ros2idl")
    columns = decoder.decode(Payloads.of(payloads), wanted)
    for column in columns:
        column.validate(full=True)
    names = [field.name for field in decoder.fields()]
    chosen = names if wanted is None else [names[number] for number in wanted]
    return [
        {name: column[row].as_py() for name, column in zip(chosen, columns, strict=True)}
        for row in range(len(payloads))
    ]


def test_members_in_any_order_by_their_ids() -> None:
    idl = """@mutable struct M { @id(4) short s; @id(6) long l; @id(8) octet o; @id(10) long long ll; @id(1) long more; };"""
    body = bytes.fromhex(
        "0000002a" "20000006" "7fffffff" "20000001" "12345678" "3000000a" "7fffffffffffffff" "00000008" "01" "000000"
        "10000004" "7fff"
    )  # fmt: skip
    payload = b"\0\x0a\0\2" + body + b"\0\0"
    expected = {"s": 0x7FFF, "l": 0x7FFFFFFF, "o": 1, "ll": 2**63 - 1, "more": 0x12345678}
    assert decoded("M", idl, [payload]) == [expected]
    assert decoded("M", idl, [payload], [1, 3]) == [{"l": 0x7FFFFFFF, "ll": 2**63 - 1}]
    for wrong, match in (
        (body.replace(b"\0\0\0\x08\1", b"\0\0\0\x09\1"), "an id that the definition lacks"),
        (body.replace(b"\x10\0\0\4", b"\x10\0\0\6"), "there twice"),
        (b"\0\0\0\x21" + body[4:-6], "lacks its member 's'"),
        (body.replace(b"\x20\0\0\6", b"\x10\0\0\6"), "."),
        (body[:-1], "ends inside|passes"),
        (b"\0\0\0\xff" + body[4:], "ends inside|passes"),
    ):
        with pytest.raises(CorruptLog, match=match):
            decoded("M", idl, [b"\0\x0a\0\0" + wrong])


def test_a_delimited_sequence_of_delimited_unions() -> None:
    idl = """@appendable union U switch(long) { case 1: long i; case 2: double d; case 3: string s; };
             @appendable struct T { @key long id; sequence<U> unions; };"""
    payload = bytes.fromhex("00090000" "18000000" "dc050000" "10000000" "01000000" "08000000" "01000000" "983a0000")  # fmt: skip
    union = {"discriminator": 1, "i": 15000, "d": None, "s": None}
    assert decoded("T", idl, [payload]) == [{"id": 1500, "unions": [union]}]
    for at in (4, 12, 20):  # each of the three lengths
        wrong = bytearray(payload)
        wrong[at] += 1
        with pytest.raises(CorruptLog, match=r"ends inside|not as long as it says"):
            decoded("T", idl, [bytes(wrong)])


def test_ids_by_name_and_by_order() -> None:
    idl = """@autoid(HASH) @mutable struct A { long color; @id(7) long fixed; @hashid("color") long not_so; };
             @mutable struct B : A { @id(100) long first; long second; }; @bit_bound(8) enum E { NO, YES };"""
    assert parse_idl("A", idl).ids == (0x0FA5DD70, 7, 0x0FA5DD70)
    assert parse_idl("B", idl).ids[3:] == (100, 101)


def test_length_codes_that_share_their_number_with_the_member() -> None:
    idl = "@mutable struct M { sequence<long> a; sequence<octet> b; sequence<double> c; string d; };"
    little = (
        (6 << 28 | 0, struct.pack("<I2i", 2, -1, 5)),
        (5 << 28 | 1, struct.pack("<I4B", 4, 1, 2, 3, 4)),
        (7 << 28 | 2, struct.pack("<Id", 1, 0.5)),
        (4 << 28 | 3, struct.pack("<II3s", 7, 3, b"hi\0")),
    )
    body = b"".join(struct.pack("<I", head) + data for head, data in little)
    payload = b"\0\x0b\0\0" + struct.pack("<I", len(body)) + body
    assert decoded("M", idl, [payload]) == [{"a": [-1, 5], "b": b"\1\2\3\4", "c": [0.5], "d": "hi"}]


# -- a plain encoder as the other side -----------------------------------------------------------------------------

IDL = """
module t {
  enum Mode { OFF, @value(5) ON };
  @bit_bound(8) enum Small { A, B };
  @final struct Fixed { octet a; double b; };
  @appendable struct Grown { octet a; string s; sequence<short> v; };
  @mutable struct Loose { double d; @id(9) sequence<Grown> g; octet o; };
  @final union Plain switch (Mode) { case OFF: octet no; case t::ON: double yes; };
  @appendable union Named switch (char) { case 'x': Fixed f; case 'y': case 'z': string s; default: long long other; };
  struct Plainly { octet a; double b; };
  struct Root {
    octet first;
    double second;
    Fixed fixed[2];
    sequence<Grown> grown;
    Loose loose;
    sequence<Loose, 3> several;
    Mode mode;
    sequence<Small> small;
    sequence<string> names;
    long grid[2][3];
    string words[2][2];
    Plain plain;
    sequence<Named> named;
    sequence<sequence<octet>> nested;
    wstring wide;
    Plainly plainly;
    long long last;
  };
};
"""
ROOT = parse_idl("t::Root", IDL)
ENCAPSULATIONS = {6: ("final", "final"), 8: ("appendable", "appendable"), 10: ("mutable", "appendable")}


class Encoder:
    def __init__(self, order: str, unsaid: str) -> None:
        self.out = bytearray()
        self.order = order
        self.unsaid = unsaid

    def number(self, code: str, value: Any) -> None:
        size = np.dtype(code).itemsize
        self.out += bytes(-len(self.out) % min(size, 4))
        self.out += np.array([value], self.order + code).tobytes()

    def counted(self, write: Callable[[], None]) -> None:
        self.number("u4", 0)
        at = len(self.out)
        write()
        self.out[at - 4 : at] = np.array([len(self.out) - at], self.order + "u4").tobytes()

    def value(self, kind: Type, value: Any, grows: str = "") -> None:
        match kind:
            case Primitive():
                self.number(kind.code, value)
            case Text(wide=True):
                units = value.encode("utf-16-le" if self.order == "<" else "utf-16-be")
                self.number("u4", len(units))
                self.out += units
            case Text():
                data = value.encode() + b"\0"
                self.number("u4", len(data))
                self.out += data
            case Array():
                self.array(kind, value)
            case Struct():
                self.struct(kind, value, grows or kind.extensibility or self.unsaid)
            case Union():
                if (kind.extensibility or self.unsaid) == "final":
                    self.union(kind, value)
                else:
                    self.counted(lambda: self.union(kind, value))

    def array(self, kind: Array, value: Any) -> None:
        item = kind.item
        while isinstance(item, Array) and item.dimension:
            item = item.item

        def write() -> None:
            if kind.count is None:
                self.number("u4", len(value))
            for each in value:
                self.value(kind.item, each)

        if kind.dimension or (isinstance(item, Primitive) and not item.choices):
            write()
        else:
            self.counted(write)

    def struct(self, kind: Struct, value: Any, grows: str) -> None:
        def write() -> None:
            for name, item in kind.fields:
                self.value(item, value[name])

        def write_members() -> None:
            order = list(range(len(kind.fields)))
            for at in order[1:] + order[:1]:  # any order will do
                name, item = kind.fields[at]
                code = {1: 0, 2: 1, 4: 2, 8: 3}[item.size_bytes] if isinstance(item, Primitive) else 4
                self.number("u4", code << 28 | kind.ids[at])
                if code < 4:
                    self.out += np.array([value[name]], self.order + item.code).tobytes()  # type: ignore[union-attr]  # a number
                else:
                    self.counted(lambda name=name, item=item: self.value(item, value[name]))  # type: ignore[misc]  # bound now

        if grows == "final":
            write()
        else:
            self.counted(write_members if grows == "mutable" else write)

    def union(self, kind: Union, value: Any) -> None:
        self.number(kind.tag.code, value["discriminator"])
        for name, item, _ in kind.cases:
            if value[name] is not None:
                self.value(item, value[name])


def encoded(value: Any, kind: int) -> bytes:
    root, unsaid = ENCAPSULATIONS[kind & ~1]
    encoder = Encoder("<" if kind & 1 else ">", unsaid)
    encoder.value(ROOT, value, root)
    return bytes([0, kind, 0, -len(encoder.out) % 4]) + encoder.out + bytes(-len(encoder.out) % 4)


texts = st.text("aé", max_size=4)
octets = st.integers(0, 255)
doubles = st.floats(allow_nan=False, allow_infinity=False)
fixed = st.fixed_dictionaries({"a": octets, "b": doubles})
grown = st.fixed_dictionaries({"a": octets, "s": texts, "v": st.lists(st.integers(-9, 9), max_size=3)})
loose = st.fixed_dictionaries({"d": doubles, "g": st.lists(grown, max_size=2), "o": octets})


def union(tags: dict[int, str], members: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    def of(tag: int) -> st.SearchStrategy[dict[str, Any]]:
        values = {name: item if tags[tag] == name else st.none() for name, item in members.items()}
        return st.fixed_dictionaries({"discriminator": st.just(tag), **values})

    return st.sampled_from(list(tags)).flatmap(of)


plain = union({0: "no", 5: "yes", 77: ""}, {"no": octets, "yes": doubles})
named = union(
    {ord("x"): "f", ord("y"): "s", ord("z"): "s", 3: "other"},
    {"f": fixed, "s": texts, "other": st.integers(-(2**63), 2**63 - 1)},
)
roots = st.fixed_dictionaries(
    {
        "first": octets,
        "second": doubles,
        "fixed": st.lists(fixed, min_size=2, max_size=2),
        "grown": st.lists(grown, max_size=2),
        "loose": loose,
        "several": st.lists(loose, max_size=2),
        "mode": st.sampled_from([0, 5]),
        "small": st.lists(st.sampled_from([0, 1]), max_size=3),
        "names": st.lists(texts, max_size=3),
        "grid": st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=2, max_size=2),
        "words": st.lists(st.lists(texts, min_size=2, max_size=2), min_size=2, max_size=2),
        "plain": plain,
        "named": st.lists(named, max_size=3),
        "nested": st.lists(st.binary(max_size=3), max_size=3),
        "wide": texts,
        "plainly": fixed,
        "last": st.integers(-(2**63), 2**63 - 1),
    }
)


@settings(max_examples=25, deadline=None)
@given(st.lists(roots, min_size=1, max_size=4), st.sampled_from([6, 7, 8, 9, 10, 11]))
def test_what_was_encoded_comes_back(values: list[dict[str, Any]], kind: int) -> None:
    payloads = [encoded(value, kind) for value in values]
    assert decoded("t::Root", IDL, payloads) == values
    wanted = [0, 3, 11]
    names = [name for name, _ in ROOT.fields]
    expected = [{names[number]: value[names[number]] for number in wanted} for value in values]
    assert decoded("t::Root", IDL, payloads, wanted) == expected


@settings(max_examples=40, deadline=None)
@given(roots, st.sampled_from([6, 7, 8, 9, 10, 11]), st.data())
def test_what_was_cut_is_refused_and_flipped_bytes_give_values_or_a_refusal(
    value: dict[str, Any], kind: int, data: st.DataObject
) -> None:
    payload = encoded(value, kind)
    size = len(payload) - payload[3]
    with pytest.raises(CorruptLog):
        decoded("t::Root", IDL, [payload[: data.draw(st.integers(4, size - 1))]])
    flipped = bytearray(payload)
    flipped[data.draw(st.integers(4, size - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded("t::Root", IDL, [bytes(flipped)])
    except CorruptLog:
        return


def test_a_union_in_plain_cdr_is_aligned_to_eight() -> None:
    idl = "union U switch (octet) { case 1: double d; default: octet o; }; struct S { octet a; U u; octet z; };"
    one = b"\0\1\0\0" + b"\7\1" + bytes(6) + struct.pack("<d", 2.5) + b"\x09"
    other = b"\0\1\0\0" + b"\7\2\x08\x09"
    rows = decoded("S", idl, [one, other, one])
    assert rows[0] == rows[2] == {"a": 7, "u": {"discriminator": 1, "d": 2.5, "o": None}, "z": 9}
    assert rows[1] == {"a": 7, "u": {"discriminator": 2, "d": None, "o": 8}, "z": 9}
    with pytest.raises(CorruptLog):
        decoded("S", idl, [one[:-2]])


def test_mutable_types_are_read_in_version_2_alone() -> None:
    idl = "@mutable struct M { long a; };"
    assert decoded("M", idl, [b"\0\x0b\0\0" + struct.pack("<IIi", 8, 2 << 28, -3)]) == [{"a": -3}]
    for head in (b"\0\1\0\0", b"\0\3\0\0"):
        with pytest.raises(UnsupportedLog, match=r"mutable type in XCDR version 1|parameter list"):
            decoded("M", idl, [head + bytes(12)])


def test_lying_counts_take_no_memory() -> None:
    idl = "union U switch (octet) { case 0: octet o; }; struct S { sequence<U> u; };"
    payload = b"\0\7\0\0" + struct.pack("<II", 1 << 30, 1 << 31) + bytes(64)
    with pytest.raises(CorruptLog, match="ends inside"):
        decoded("S", idl, [payload])
    payload = b"\0\7\0\0" + struct.pack("<II", 68, 1 << 31) + bytes(64)
    with pytest.raises(CorruptLog, match="longer than its message"):
        decoded("S", idl, [payload])


@pytest.mark.parametrize("encapsulation", [b"\0\1\0\0", b"\0\7\0\0"])
def test_a_sequence_that_nobody_asked_for_is_passed_over(encapsulation: bytes) -> None:
    """Of enumerations, version 2 says the bytes before the count."""
    idl = "enum Mode { OFF, ON }; struct S { sequence<Mode> modes; sequence<float> s; unsigned long after; };"
    modes = struct.pack("<IIII", 3, 0, 1, 0)
    modes = modes if encapsulation[1] == 1 else struct.pack("<I", len(modes)) + modes
    payload = encapsulation + modes + struct.pack("<IffI", 2, 0.5, 1.5, 77)
    assert decoded("S", idl, [payload] * 3, [2]) == [{"after": 77}] * 3
    with pytest.raises(CorruptLog):
        decoded("S", idl, [payload[:-5]], [2])
