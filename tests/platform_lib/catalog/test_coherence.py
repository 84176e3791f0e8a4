"""When a folder's files may pass for one drive."""

from __future__ import annotations

import pytest

from platform_lib.catalog.coherence import doubt, recorded
from platform_lib.catalog.model import Drive, DriveFile

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND


def _drive(*spans: tuple[int | None, int | None], vehicle: str | None = None) -> Drive:
    files = tuple(DriveFile(str(i), (f"/logs/{i}",), 1, False, start, stop) for i, (start, stop) in enumerate(spans))
    return Drive("logs", vehicle, "logs", None, None, {}, files, "unknown", 1, 1, 0)


@pytest.mark.parametrize(
    "spans",
    [
        [],
        [(None, None), (None, None)],
        [(0, 10 * _SECOND)],
        [(0, 10 * _SECOND), (5 * _SECOND, 15 * _SECOND)],
        [(10 * _SECOND, 20 * _SECOND), (0, 10 * _SECOND), (75 * _SECOND, 90 * _SECOND)],  # a recorder that splits
        [(0, 100 * _SECOND), (1 * _SECOND, 2 * _SECOND), (150 * _SECOND, 151 * _SECOND)],
        [(0, _DAY)],
    ],
)
def test_what_may_be_one_drive_is_not_doubted(spans: list[tuple[int | None, int | None]]) -> None:
    assert doubt(_drive(*spans)) is None


def test_files_years_apart_are_told_with_the_gap_and_the_remedy() -> None:
    told = doubt(_drive((0, _SECOND), (18_262 * _DAY, 18_262 * _DAY + _SECOND)))
    assert told is not None
    assert "2 file(s) one drive: 50.0 years from 1970-01-01 00:00:00 UTC to 2020-01-01 00:00:01 UTC" in told
    assert "in 2 recordings, up to 50.0 years apart" in told
    assert "folder of its own" in told


def test_a_gap_of_minutes_and_a_span_of_days_are_told() -> None:
    assert "2 recordings, up to 5.0 minutes apart" in (
        doubt(_drive((0, _SECOND), (301 * _SECOND, 302 * _SECOND))) or ""
    )
    assert "one drive: 24.0 hours" in (doubt(_drive((0, _DAY + 1))) or "")
    assert "1.5 days" not in (doubt(_drive((0, _DAY + 1))) or "")


def test_folders_of_one_name_in_different_places_are_told() -> None:
    def of(*places: tuple[str, ...], vehicle: str | None = None) -> str | None:
        files = tuple(DriveFile(str(i), paths, 1, False, 0, _SECOND) for i, paths in enumerate(places))
        return doubt(Drive("run", vehicle, "run", None, None, {}, files, "unknown", 1, 1, 0))

    told = of(("/x/run/a.mcap",), ("/y/run/a.mcap", "/y/run/b.mcap"))
    assert told is not None
    assert "2 folders of one name make 2 file(s) one drive: /x/run, /y/run." in told
    assert of(("/x/run/a.mcap",), ("/x/run/b.mcap", "/copy/run/b.mcap"), ("/x/run",)) is None
    assert of(("/x/run",), ("/y/run",)) is not None, "two bags"
    assert of(("/x/run/a.mcap",), ("/y/run/a.mcap",), vehicle="v") is None


def test_a_drive_that_its_logs_name_is_not_doubted() -> None:
    assert doubt(_drive((0, 1), (900 * _DAY, 901 * _DAY), vehicle="v")) is None


def test_pauses_are_not_recorded_time_and_overlaps_count_once() -> None:
    assert recorded(_drive()) == (0, 0)
    assert recorded(_drive((None, None), (5, 5 + _SECOND))) == (_SECOND, 1)
    assert recorded(_drive((0, 10 * _SECOND), (5 * _SECOND, 12 * _SECOND))) == (12 * _SECOND, 1)
    assert recorded(_drive((0, _SECOND), (18_262 * _DAY, 18_262 * _DAY + 2 * _SECOND))) == (3 * _SECOND, 2)
