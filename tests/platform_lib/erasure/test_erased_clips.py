"""Clips of real stores: derived from what is there, and gone with what is erased."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from platform_lib import cli
from platform_lib.catalog.cells import Near
from platform_lib.catalog.clips import Clips
from platform_lib.catalog.filters import ClipFilter, DriveFilter
from platform_lib.catalog.finding import Clip, Finder
from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.lake.clips import refresh_clips
from platform_lib.privacy.retention import expire_raw

pytestmark = pytest.mark.slow
MONDAY, TUESDAY, FRIDAY = "car-17_monday-0001", "car-17_tuesday-0002", "car-17_friday-0003"
T0, SECOND = 1_780_000_000_000_000_000, 1_000_000_000


@pytest.fixture(autouse=True)
def short_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drives last 20 s: four clips of five seconds each."""
    monkeypatch.setattr("platform_lib.lake.clips.CLIP_NS", 5 * SECOND)


def _clips(town: Any, drive: str) -> list[Clip]:
    return list(Finder(town.lake.catalog.engine).clips(ClipFilter(drive=drive), limit=50).clips)


def _starts(town: Any, drive: str) -> list[int]:
    return [(item.start_ns - T0) // SECOND for item in _clips(town, drive)]


def _erase(town: Any, **options: Any) -> None:
    asked = {"drive": None, "start": None, "stop": None, "area": None, **options}
    erase(town.home, make_scope(**asked), reason="request 4711", requested_by="the data officer")


def test_clips_say_where_when_and_what_frames_may_show(town: Any) -> None:
    assert refresh_clips(town.lake) == 3
    assert refresh_clips(town.lake) == 0
    found = _clips(town, MONDAY)
    assert _starts(town, MONDAY) == [0, 5, 10, 15]
    assert {item.pii_state for item in found} == {"blurred"}
    assert {item.odd_cell for item in found} == {"weather=unknown, event=unknown"}
    assert [(item.latitude_deg, item.longitude_deg) for item in found] == [
        (pytest.approx(48.0 + 0.005 * k), pytest.approx(8.5)) for k in range(4)
    ]
    assert [item.latitude_deg for item in _clips(town, FRIDAY)] == [None] * 4  # no receiver
    assert {item.pii_state for item in _clips(town, FRIDAY)} == {"none_present"}
    finder = Finder(town.lake.catalog.engine)
    near = Near(48.0, 8.5, 300)
    assert [item.drive_id for item in finder.clips(ClipFilter(near=near), limit=9).clips] == [MONDAY]
    assert [item.drive_id for item in finder.drives(DriveFilter(near=near), limit=9).drives] == [MONDAY]


def test_a_new_blur_and_frames_that_expire_change_what_clips_say(town: Any) -> None:
    ingest_id = next(item.ingest_id for item in town.lake.catalog.view().ingests if item.drive_id == MONDAY)
    refresh_clips(town.lake)
    with town.lake.catalog.engine.begin() as connection:
        connection.execute(text("DELETE FROM blurs"))
    assert refresh_clips(town.lake) == 0
    town.blur(ingest_id)
    assert list(Clips(town.lake.catalog.engine).due()) == [MONDAY]
    assert refresh_clips(town.lake) == 1
    assert {item.pii_state for item in _clips(town, MONDAY)} == {"blurred"}
    Clips(town.lake.catalog.engine).note_all_due()
    refresh_clips(town.lake)
    assert {item.pii_state for item in _clips(town, TUESDAY)} == {"unknown"}  # its blur was taken away: raw again
    expire_raw(town.home, days=0, now_ns=T0 + 100 * SECOND)
    assert {item.pii_state for item in _clips(town, TUESDAY)} == {None}  # no frame is left


def test_a_drive_that_is_erased_has_no_clip_and_the_others_keep_theirs(town: Any) -> None:
    refresh_clips(town.lake)
    _erase(town, drive=MONDAY)
    finder = Finder(town.lake.catalog.engine)
    assert [item.drive_id for item in finder.drives(DriveFilter(), limit=9).drives] == [FRIDAY, TUESDAY]
    assert finder.clips(ClipFilter(near=Near(48.0, 8.5, 5000)), limit=9).clips == ()
    assert _starts(town, TUESDAY) == [0, 5, 10, 15]
    with town.lake.catalog.engine.connect() as connection:
        numbers = set(connection.execute(text("SELECT drive_number FROM drives")).scalars())
        for table in ("clips", "drive_places"):
            left = set(connection.execute(text(f"SELECT drive_number FROM {table}")).scalars())  # noqa: S608 - ours
            assert left <= numbers, table


def test_of_a_time_window_that_is_erased_no_clip_stays(town: Any) -> None:
    refresh_clips(town.lake)
    _erase(town, drive=TUESDAY, start=str(T0 + 5 * SECOND), stop=str(T0 + 12 * SECOND))
    assert _starts(town, TUESDAY) == [0, 10, 15]
    assert _starts(town, MONDAY) == [0, 5, 10, 15]


def test_a_kill_before_clips_are_derived_hides_them_and_the_next_command_derives_them(
    town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_clips(town.lake)

    class KilledError(Exception):
        pass

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("platform_lib.erasure.erasing.refresh_clips", die)
        with pytest.raises(KilledError):
            _erase(town, drive=TUESDAY, start=str(T0), stop=str(T0 + 5 * SECOND))
    assert _starts(town, TUESDAY) == []  # never what is erased
    erase(town.home, None, reason="-", requested_by="x")
    assert _starts(town, TUESDAY) == [5, 10, 15]


def test_rows_that_were_lost_are_rebuilt_and_a_query_reads_them(town: Any, capsys: pytest.CaptureFixture[str]) -> None:
    refresh_clips(town.lake)
    asked = "SELECT * FROM clips ORDER BY drive_id, start_ns"
    before = town.lake.query(asked).table.to_pylist()
    assert len(before) == 12
    assert before[0]["odd_cell"] == "weather=unknown, event=unknown"
    with town.lake.catalog.engine.begin() as connection:
        connection.execute(text("DELETE FROM clips WHERE start_ns > (SELECT min(start_ns) FROM clips)"))
        connection.execute(text("UPDATE clips SET pii_state = NULL, cell = NULL"))
        connection.execute(text("DELETE FROM drive_places"))
    capsys.readouterr()
    cli.run(["lineage", "--rebuild", "--home", str(town.home.root), "--json"])
    assert json.loads(capsys.readouterr().out) == {"artefacts": 0, "drives": 3}
    assert town.lake.query(asked).table.to_pylist() == before
    found = Finder(town.lake.catalog.engine).drives(DriveFilter(near=Near(48.0, 8.5, 300)), limit=9).drives
    assert [item.drive_id for item in found] == [MONDAY]
