from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.logs.merging import merged
from platform_lib.logs.payloads import Payloads, Rows


def batches(times: list[int], source: int, width: int) -> Iterator[Rows]:
    for first in range(0, len(times), width):
        some = times[first : first + width]
        payloads = Payloads.of([f"{source}.{first + row}".encode() for row in range(len(some))])
        yield Rows(np.array(some, np.int64), None, payloads)


@given(st.lists(st.lists(st.integers(0, 30), max_size=20).map(sorted), max_size=4), st.integers(1, 5))
def test_merging_is_a_stable_sort(sources: list[list[int]], width: int) -> None:
    expected = sorted(
        ((time, number, row) for number, times in enumerate(sources) for row, time in enumerate(times)),
    )
    found = [
        (time, *map(int, data.split(b".")))
        for rows in merged([batches(times, number, width) for number, times in enumerate(sources)])
        for time, data in zip(rows.log_time_ns.tolist(), rows.payloads.views().to_pylist(), strict=True)
    ]
    assert found == expected
