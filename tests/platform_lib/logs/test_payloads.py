from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.logs.payloads import Payloads, prefixes

CHUNKS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=6), min_size=1, max_size=4)


def build(chunks: list[list[bytes]], *, with_prefix: bool) -> Payloads:
    pieces = []
    for chunk in chunks:
        piece = Payloads.of(chunk)
        prefix = prefixes(piece.buffers[0], piece.start) if with_prefix else None
        pieces.append(Payloads(piece.buffers, piece.buffer, piece.start, piece.length, prefix))
    return Payloads.chain(pieces)


@given(CHUNKS, st.booleans(), st.randoms(use_true_random=False))
def test_views_are_the_payloads_whatever_is_taken(chunks: list[list[bytes]], with_prefix: bool, rng: object) -> None:
    flat = [item for chunk in chunks for item in chunk]
    payloads = build(chunks, with_prefix=with_prefix)
    order = list(range(len(flat)))
    rng.shuffle(order)  # type: ignore[attr-defined]  # a random.Random, which hypothesis types as object
    some = np.array(order[: max(1, len(order) // 2)])
    for found, expected in ((payloads, flat), (payloads.take(some), [flat[row] for row in some])):
        views = found.views()
        views.validate(full=True)
        assert views.to_pylist() == expected
        raw, start = found.packed()
        lengths = found.length.tolist()
        stops = zip(start.tolist(), lengths, strict=True)
        assert [raw[at : at + size].tobytes() for at, size in stops] == expected


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 3))
def test_payloads_of_one_length_pack_without_a_loop(length: int, rows: int, chunks: int) -> None:
    flat = [[bytes([row % 251]) * length for row in range(rows)] for _ in range(chunks)]
    raw, _ = build(flat, with_prefix=True).packed()
    assert raw.tobytes() == b"".join(item for chunk in flat for item in chunk)


def test_buffers_that_no_row_needs_are_let_go() -> None:
    payloads = build([[b"a" * 20], [b"b" * 20], [b"c" * 20]], with_prefix=True)
    taken = payloads.take(np.array([2, 0]))
    assert [bytes(memoryview(buffer)) for buffer in taken.buffers] == [b"a" * 20, b"c" * 20]
    assert taken.views().to_pylist() == [b"c" * 20, b"a" * 20]
