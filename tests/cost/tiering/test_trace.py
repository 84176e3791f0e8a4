"""What a watch says of a day of an object's life, beside the same counted object by object."""

from __future__ import annotations

import numpy as np
import pytest

from cost.tiering.sampling import Sample, prefix_of
from cost.tiering.trace import Trace, seen


def _trace(born: list[int], watched: int, reads: list[tuple[int, int]], sizes: list[int] | None = None) -> Trace:
    rows = np.array(reads, dtype=np.int64).reshape(-1, 2)
    size = np.array(sizes or [100] * len(born))
    return Trace(
        np.array(born), size, watched, rows[:, 0], rows[:, 1], np.ones(len(rows)), size[rows[:, 0]].astype(float)
    )


def _counted(trace: Trace, days: int, span: int) -> np.ndarray:
    """Return the idle share by day of life, slowly."""
    idle, known = np.zeros(days), np.zeros(days)
    for number, born in enumerate(trace.born):
        mine = set(trace.day[trace.object == number].tolist())
        for day in range(max(0, born), trace.watched_days):
            age = day - born
            first = day - span + 1
            if age >= days or age < span or (born < 0 and first < 0):
                continue
            known[age] += trace.size_bytes[number]
            idle[age] += trace.size_bytes[number] * (not any(first <= each <= day for each in mine))
    return np.divide(idle, known, out=np.full(days, np.nan), where=known > 0)


@pytest.mark.parametrize("seed", range(4))
def test_idling_is_what_counting_by_hand_gives(seed: int) -> None:
    random = np.random.default_rng(seed)
    born = np.sort(random.integers(-80, 100, 12))
    reads = [(n, d) for n in range(12) for d in range(max(0, int(born[n])), 150) if random.random() < 0.02]
    trace = _trace(born.tolist(), 150, reads, random.integers(1, 1000, 12).tolist())
    access = seen(trace, 200).access
    for span, found in ((30, access.idle_30), (90, access.idle_90)):
        wanted = _counted(trace, 200, span)
        told = ~np.isnan(wanted)
        assert told.any()
        assert found[told] == pytest.approx(wanted[told], abs=1e-9)
        assert np.all((found >= 0) & (found <= 1))


def test_rates_are_by_the_day_of_life_and_unseen_days_are_filled_from_around() -> None:
    trace = _trace([0, 5], 10, [(0, 0), (1, 5), (0, 9)])
    found = seen(trace, 40)
    assert found.access.gets[:3].tolist() == [1.0, 0.0, 0.0]
    assert found.access.gets[9] == 1.0
    assert found.seen_days.tolist() == [True] * 10 + [False] * 30
    assert found.access.gets[30] == pytest.approx(3 / 15)  # the tail of what was seen: 3 reads in 15 days of objects
    hole = seen(_trace([-30, 0], 5, [(1, 2)]), 40)
    assert hole.seen_days[[3, 10, 32]].tolist() == [True, False, True]
    assert hole.access.gets[10] == pytest.approx(1 / 5)


def test_a_short_watch_counts_only_the_idling_that_is_certain() -> None:
    access = seen(_trace([-400] * 4, 20, []), 500).access
    assert access.idle_90[450] == 1.0  # nothing was read on any day: no object can have been
    some = seen(_trace([-400] * 4, 20, [(0, 3)]), 500).access
    assert some.idle_90[450] < 1.0


@pytest.mark.parametrize(
    ("born", "reads", "said"),
    [([0], [(0, 10)], "outside the watch"), ([5], [(0, 4)], "before it was made")],
)
def test_a_trace_that_cannot_be_is_refused(born: list[int], reads: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _trace(born, 10, reads)
    with pytest.raises(ValueError, match="no object"):
        seen(_trace([], 10, []), 5)


def test_a_sample_is_bounded_and_does_not_depend_on_the_order() -> None:
    keys = [f"raw/{number}" for number in range(3000)]
    samples = []
    for order in (keys, keys[::-1]):
        sample = Sample(most_objects=200)
        for key in order:
            sample.add(key, ("raw/", 1), 0, 10)
        samples.append(sample)
        assert len(sample.objects) <= 200
    assert samples[0].objects == samples[1].objects
    assert 0.02 < samples[0].share < 0.1
    sample = samples[0]
    watched = [key for key in keys if sample.known(key)]
    for key in keys:
        sample.read(key, 3, None)
        sample.read(key, 3, 99)
    (trace,) = sample.traces(0, 9).values()
    assert trace.gets.tolist() == [2.0] * len(watched)
    assert trace.read_bytes.tolist() == [20.0] * len(watched)  # no request hands out more than the object


def test_too_many_days_of_reads_make_the_sample_smaller_and_leave_it_unbiased() -> None:
    sample = Sample(most_objects=1000, most_rows=2000)
    keys = [f"k{number}" for number in range(400)]
    for key in keys:
        sample.add(key, ("", 1), 0, 10)
    for day in range(20):
        for key in keys:
            sample.read(key, day, 5)
    assert sum(map(len, sample.reads.values())) <= 2000
    (trace,) = sample.traces(0, 19).values()
    assert len(trace.object) == 20 * len(trace.born)  # of each that is left, every day


def test_reads_of_what_is_not_in_the_inventory_are_counted() -> None:
    sample = Sample()
    sample.add("a", ("", 1), 5, 10)
    sample.read("b", 6, 1)
    sample.read("a", 4, 1)
    assert sample.unmatched == 2
    assert [prefix_of("a/b/c.txt", depth) for depth in (0, 1, 2, 5)] == ["", "a/", "a/b/", "a/b/"]
