"""The questions against plain Python over the same rows: filters, order, pages."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from platform_lib import cli
from platform_lib.catalog.addresses import database_uri, ensure_database
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.cells import EARTH_RADIUS_M, Near, cells_near
from platform_lib.catalog.clips import CLIP_NS
from platform_lib.catalog.filters import ClipFilter, DriveFilter, Key
from platform_lib.catalog.finding import Finder
from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home
from tests.bench.catalog_latency import measure_questions
from tests.bench.fleet import Fleet, fill
from tests.bench.fleet_rows import CITIES, FILES, TAGS

pytestmark = pytest.mark.slow
FLEET = Fleet(1200)


@dataclass(frozen=True)
class Rows:
    """Everything there is, as plain rows."""

    finder: Finder
    catalog: Catalog
    drives: list[Any]
    clips: list[Any]


@pytest.fixture(scope="module")
def rows(server: tuple[Home, str]) -> Iterator[Rows]:
    uri = database_uri(server[1], "test_finding")
    ensure_database(uri)
    with Catalog(uri) as catalog:
        fill(catalog.engine, FLEET)
        with catalog.engine.connect() as connection:
            drives = connection.execute(text("SELECT * FROM drives")).all()
            clips = connection.execute(
                text(
                    "SELECT clips.*, drive_id, odd_cell FROM clips JOIN drives USING (drive_number) JOIN odd_cells USING (odd_id)"
                )
            ).all()
        yield Rows(Finder(catalog.engine), catalog, list(drives), list(clips))


def _all_drives(finder: Finder, which: DriveFilter, limit: int) -> list[str]:
    found: list[str] = []
    after: Key | None = None
    while True:
        page = finder.drives(which, limit=limit, after=after)
        found += [item.drive_id for item in page.drives]
        after = page.after
        if after is None:
            return found
        assert len(page.drives) == limit


def test_a_list_names_files_where_that_is_asked_and_is_else_the_same(rows: Rows) -> None:
    named = rows.finder.drives(DriveFilter(), limit=9, names=True).drives
    plain = rows.finder.drives(DriveFilter(), limit=9).drives
    assert all(item.paths and item.bytes for drive in named for item in drive.files)
    without = [
        replace(drive, files=tuple(replace(item, paths=(), bytes=None) for item in drive.files)) for drive in named
    ]
    assert list(plain) == without


def _all_clips(finder: Finder, which: ClipFilter, limit: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    after: Key | None = None
    while True:
        page = finder.clips(which, limit=limit, after=after)
        found += [(item.drive_id, item.start_ns) for item in page.clips]
        after = page.after
        if after is None:
            return found
        assert len(page.clips) == limit


def test_pages_of_drives_hold_every_drive_once_newest_first(rows: Rows) -> None:
    middle = sorted(row.listed_ns for row in rows.drives)[600]
    some = rows.drives[17].vehicle
    asked: list[tuple[DriveFilter, Callable[[Any], bool]]] = [
        (DriveFilter(), lambda _: True),
        (DriveFilter(vehicle=some), lambda row: row.vehicle == some),
        (DriveFilter(pii_state="present"), lambda row: row.pii_state == "present"),
        (DriveFilter(since_ns=middle), lambda row: row.listed_ns >= middle),
        (DriveFilter(until_ns=middle, vehicle=some), lambda row: row.listed_ns < middle and row.vehicle == some),
        (DriveFilter(vehicle="nobody"), lambda _: False),
    ]
    for which, holds in asked:
        expected = sorted(filter(holds, rows.drives), key=lambda row: (-row.listed_ns, -row.drive_number))
        assert _all_drives(rows.finder, which, 97) == [row.drive_id for row in expected], which


def test_drives_near_a_place_are_those_that_were_in_its_cells(rows: Rows) -> None:
    for near in (Near(*CITIES[0], 2500), Near(*CITIES[1], 400), Near(0.0, 0.0, 100)):
        cells = {*chain(*cells_near(near))}
        there = {row.drive_number for row in rows.clips if row.cell in cells}
        expected = [row for row in rows.drives if row.drive_number in there]
        expected.sort(key=lambda row: (-row.listed_ns, -row.drive_number))
        assert _all_drives(rows.finder, DriveFilter(near=near), 7) == [row.drive_id for row in expected]
        blurred = [row.drive_id for row in expected if row.pii_state == "blurred"]
        assert _all_drives(rows.finder, DriveFilter(near=near, pii_state="blurred"), 7) == blurred
    assert _all_drives(rows.finder, DriveFilter(near=Near(*CITIES[0], 2500)), 7)


def test_pages_of_clips_hold_every_clip_once_in_order(rows: Rows) -> None:
    drive = rows.drives[3]
    own = sorted((row.drive_id, row.start_ns) for row in rows.clips if row.drive_id == drive.drive_id)
    assert _all_clips(rows.finder, ClipFilter(drive=drive.drive_id), 33) == own
    since = own[40][1]
    assert _all_clips(rows.finder, ClipFilter(drive=drive.drive_id, since_ns=since), 33) == own[40:]

    odd = [row for row in rows.clips if row.odd_cell == "weather=rain, event=none" and row.pii_state == "unknown"]
    odd.sort(key=lambda row: (-row.start_ns, -row.drive_number))
    which = ClipFilter(odd_cell="weather=rain, event=none", pii_state="unknown")
    assert _all_clips(rows.finder, which, 41) == [(row.drive_id, row.start_ns) for row in odd]


@pytest.mark.parametrize(("radius_m", "page"), [(150, 29), (800, 29), (2500, 29), (5000, 211)])
def test_clips_near_a_place_are_those_that_begin_within(rows: Rows, radius_m: float, page: int) -> None:
    near = Near(*CITIES[0], radius_m)
    inside = [row for row in rows.clips if _metres(row, near) <= near.radius_m]
    inside.sort(key=lambda row: (-row.start_ns, -row.drive_number))
    assert _all_clips(rows.finder, ClipFilter(near=near), page) == [(row.drive_id, row.start_ns) for row in inside]
    assert inside
    rain = [row for row in inside if row.odd_cell == "weather=rain, event=none" and row.pii_state == "unknown"]
    which = ClipFilter(near=near, odd_cell="weather=rain, event=none", pii_state="unknown")
    assert _all_clips(rows.finder, which, 5) == [(row.drive_id, row.start_ns) for row in rain]
    late = [row for row in inside if row.start_ns >= inside[len(inside) // 2].start_ns]
    recent = ClipFilter(near=near, since_ns=late[-1].start_ns)
    assert _all_clips(rows.finder, recent, page) == [(row.drive_id, row.start_ns) for row in late]


def _metres(row: Any, near: Near) -> float:
    latitude, longitude = math.radians(row.latitude_e7 / 1e7), math.radians(row.longitude_e7 / 1e7)
    up, across = latitude - math.radians(near.latitude_deg), longitude - math.radians(near.longitude_deg)
    share = (
        math.sin(up / 2) ** 2
        + math.cos(latitude) * math.cos(math.radians(near.latitude_deg)) * math.sin(across / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(share))


def test_clips_of_a_tag_and_of_a_dataset_are_those_that_their_tables_name(rows: Rows) -> None:
    by_key = {(row.drive_number, row.start_ns): row for row in rows.clips}
    with rows.catalog.engine.connect() as connection:
        tagged = connection.execute(text("SELECT * FROM clip_tags WHERE tag_id = 5")).all()
        taken = connection.execute(text("SELECT * FROM dataset_clips WHERE dataset_number = 4")).all()
        digest = connection.execute(text("SELECT sha256 FROM datasets WHERE dataset_number = 4")).scalar_one()
    tagged = sorted(tagged, key=lambda row: (-row.start_ns, -row.drive_number))
    expected = [(by_key[row.drive_number, row.start_ns].drive_id, row.start_ns) for row in tagged]
    assert _all_clips(rows.finder, ClipFilter(tag=TAGS[4]), 50) == expected
    page = rows.finder.clips(ClipFilter(tag=TAGS[4]), limit=5)
    assert all(TAGS[4] in item.tags for item in page.clips)

    taken = sorted(taken, key=lambda row: (row.drive_number, row.start_ns))
    expected = [(by_key[row.drive_number, row.start_ns].drive_id, row.start_ns) for row in taken]
    assert _all_clips(rows.finder, ClipFilter(dataset=digest), 50) == expected
    both = [
        key
        for key in expected
        if key in {(by_key[row.drive_number, row.start_ns].drive_id, row.start_ns) for row in tagged}
    ]
    found = _all_clips(rows.finder, ClipFilter(dataset=digest, tag=TAGS[4]), 50)
    assert found == both
    drive_id, start_ns = expected[0]
    assert digest in {item.sha256 for item in rows.finder.saw_clip(drive_id, start_ns + CLIP_NS - 1)}
    assert rows.finder.saw_clip(drive_id, start_ns - 1000 * CLIP_NS) == []


def test_one_drive_one_content_one_clip(rows: Rows) -> None:
    drive = rows.finder.drive(FLEET.drive_id(5))
    assert len(drive.files) == FILES
    assert rows.finder.drive(drive.session) == drive
    content = rows.finder.content(drive.files[0].file_sha256)
    assert content is not None
    assert (content.drive_id, content.paths) == (drive.drive_id, drive.files[0].paths)
    assert rows.finder.content("0" * 64) is None
    assert drive.start_ns is not None
    clip = rows.finder.clip_at(drive.drive_id, drive.start_ns + 5)
    assert clip is not None
    assert clip.start_ns <= drive.start_ns < clip.stop_ns
    assert rows.finder.clip_at(drive.drive_id, drive.start_ns - CLIP_NS) is None


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (ClipFilter(), "nothing is named"),
        (ClipFilter(pii_state="blurred"), "nothing is named"),
        (ClipFilter(drive="nobody"), "no drive"),
        (ClipFilter(tag="nothing"), "no tag"),
        (ClipFilter(odd_cell="nowhere"), "no odd"),
        (ClipFilter(dataset="0"), "no dataset"),
    ],
)
def test_what_no_index_finds_or_nobody_knows_is_refused(rows: Rows, which: ClipFilter, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rows.finder.clips(which, limit=5)
    with pytest.raises(ConfigError, match="no drive 'nobody'"):
        rows.finder.drive("nobody")


def test_the_questions_are_measured_with_rows_and_plans(rows: Rows) -> None:
    found = measure_questions(rows.catalog.engine, FLEET, asked=5)
    assert len(found) == 10
    assert all(item.rows > 0 and item.plans and "actual time" in item.plans[0] for item in found)


def _command(rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    uri = rows.catalog.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DRIVETRAIN_DATABASE_URL", uri.replace("postgresql+psycopg", "postgresql"))
    capsys.readouterr()
    cli.run([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_commands_give_pages_and_the_keys_of_the_next(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = ("--home", str(open_home(tmp_path / "home").root))
    first = _command(rows, monkeypatch, capsys, "drives", "--limit", "3", *where)
    second = _command(rows, monkeypatch, capsys, "drives", "--limit", "3", "--after", first["next"], *where)
    expected = sorted(rows.drives, key=lambda row: (-row.listed_ns, -row.drive_number))[:6]
    assert [item["drive_id"] for item in first["drives"] + second["drives"]] == [row.drive_id for row in expected]
    last = expected[0]
    asked = ("--vehicle", last.vehicle, "--since", str(last.listed_ns), "--state", last.pii_state)
    only = _command(rows, monkeypatch, capsys, "drives", *asked, *where)
    assert (last.drive_id in {item["drive_id"] for item in only["drives"]}, only["next"]) == (True, None)

    latitude, longitude = CITIES[0]
    near = _command(rows, monkeypatch, capsys, "clips", "--near", f"{latitude},{longitude},900", "--limit", "2", *where)
    assert len(near["clips"]) == 2
    clip = near["clips"][0]
    assert clip["clip_id"] == f"{clip['drive_id']}/{clip['start_ns']}"
    names = _command(rows, monkeypatch, capsys, "clips", "--names", *where)
    assert (names["tags"], len(names["odd_cells"])) == (sorted(TAGS), 30)


def test_lineage_of_a_clip_says_which_datasets_took_samples_of_it(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = ("--home", str(open_home(tmp_path / "home").root))
    dataset = _command(rows, monkeypatch, capsys, "clips", "--dataset", "d3", "--limit", "1", *where)["clips"][0]
    inside = f"{dataset['drive_id']}/{dataset['start_ns'] + CLIP_NS - 1}"
    told = _command(rows, monkeypatch, capsys, "lineage", "--clip", inside, *where)
    assert told["clip"]["clip_id"] == dataset["clip_id"]
    assert "d3" in {item["name"] for item in told["took_samples"]}
    assert {"dataset", "run", "model"} <= {item["kind"] for item in told["saw_it"]}
    digest = told["took_samples"][0]["sha256"]
    made_from = _command(rows, monkeypatch, capsys, "lineage", "--dataset", digest, *where)["made_from"]
    assert {item["kind"] for item in made_from} == {"log"}


@pytest.mark.parametrize(
    "words",
    [
        ("drives", "--after", "x"),
        ("drives", "--near", "1,2"),
        ("drives", "--since", "yesterday"),
        ("drives", "--state", "clean"),
        ("clips",),
        ("lineage", "--rebuild", "--run", "x"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
) -> None:
    with pytest.raises(SystemExit) as ended:
        _command(rows, monkeypatch, capsys, *words, "--home", str(open_home(tmp_path / "home").root))
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "ConfigError"
