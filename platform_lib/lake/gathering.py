"""Which small files are put together into one: neighbours, up to about a size."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


def gather(items: Sequence[Item], sizes: Mapping[Item, int], target_bytes: int) -> Iterator[list[Item]]:
    """Yield two and more items at a time, in their order, as many as stay within the target; who is left alone stays out."""
    held: list[Item] = []
    held_bytes = 0
    for item in items:
        if held and held_bytes + sizes[item] > target_bytes:
            if len(held) > 1:
                yield held
            held, held_bytes = [], 0
        held.append(item)
        held_bytes += sizes[item]
    if len(held) > 1:
        yield held
