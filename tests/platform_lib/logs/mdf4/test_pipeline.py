"""Work that several threads share comes in order, errors too."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from platform_lib.errors import CorruptLog
from platform_lib.logs.mdf4.pipeline import Pipeline

THREADS = [1, 2, 3]


@pytest.fixture
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    made = Pipeline(request.param)
    yield made
    made.close()


def one(_: int) -> int:
    return 1


@pytest.mark.parametrize("pipeline", THREADS, indirect=True)
@pytest.mark.parametrize("most", [1, 3, 1000])
def test_results_come_in_order_and_runs_may_be_nested(pipeline: Pipeline, most: int) -> None:
    inner = pipeline.run(range(200), lambda value: value * 2, one, 5)
    assert list(pipeline.run(inner, lambda value: value + 1, one, most)) == [2 * value + 1 for value in range(200)]


@pytest.mark.parametrize("pipeline", THREADS, indirect=True)
def test_an_error_comes_after_all_results_before_it(pipeline: Pipeline) -> None:
    def tasks() -> Iterator[int]:
        yield from range(5)
        raise CorruptLog("the rest is not there")

    def work(value: int) -> int:
        if value == 7:
            raise CorruptLog("seven")
        return value

    found: list[int] = []
    with pytest.raises(CorruptLog, match="the rest"):
        found.extend(pipeline.run(tasks(), work, one, 3))
    assert found == [0, 1, 2, 3, 4]
    found = []
    with pytest.raises(CorruptLog, match="seven"):
        found.extend(pipeline.run(range(9), work, one, 3))
    assert found == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("pipeline", [2], indirect=True)
def test_no_more_is_done_ahead_than_was_asked(pipeline: Pipeline) -> None:
    begun: set[int] = set()
    lock = threading.Lock()

    def work(value: int) -> int:
        with lock:
            begun.add(value)
        return value

    results = pipeline.run(range(100), work, one, 4)
    for value in range(20):
        assert next(results) == value
        assert max(begun) <= value + 4
    results.close()  # type: ignore[attr-defined] # a generator
