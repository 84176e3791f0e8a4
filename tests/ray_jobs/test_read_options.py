from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.read_options import NONE_SHA256, Chosen, choose, completed, find_again


def test_what_logs_were_read_with_is_found_again_by_its_digest(tmp_path: Path) -> None:
    for name in ("a.dbc", "b.arxml"):
        (tmp_path / name).write_text(name)
    chosen = choose([str(tmp_path / "a.dbc"), f"CAN2={tmp_path / 'b.arxml'}#body"], recover=False, timezone="UTC")
    again = find_again({chosen.sha256: chosen.used}, chosen.sha256)
    assert not isinstance(again, str)
    assert choose(again.read.dbc, recover=False, timezone=again.read.timezone).sha256 == chosen.sha256
    assert again.recovering(recover=True).read.recover
    (tmp_path / "a.dbc").write_text("another")
    lost = find_again({chosen.sha256: chosen.used}, chosen.sha256)
    assert isinstance(lost, str)
    assert "no longer there as it was" in lost


@pytest.mark.parametrize(("digest", "known"), [(NONE_SHA256, True), ("0" * 64, False)])
def test_nothing_is_known_by_its_digest_and_an_unknown_one_is_told(digest: str, known: bool) -> None:
    assert isinstance(find_again({}, digest), str) != known


def test_what_is_left_open_stays_as_it_was(tmp_path: Path) -> None:
    for name in ("a.dbc", "b.dbc"):
        (tmp_path / name).write_text(name)

    def given(*names: str, zone: str | None = None) -> Chosen:
        return choose([str(tmp_path / name) for name in names], recover=False, timezone=zone)

    before = given("a.dbc", zone="Europe/Berlin")
    known = {before.sha256: before.used}
    for asked, expected in (
        (given(zone="UTC"), given("a.dbc", zone="UTC")),
        (given("b.dbc"), given("b.dbc", zone="Europe/Berlin")),
        (given("b.dbc", zone="UTC"), given("b.dbc", zone="UTC")),
        (given("a.dbc"), before),
        (given(), before),
    ):
        found = completed(asked, known, before.sha256)
        assert isinstance(found, Chosen)
        assert (found.sha256, found.read.timezone) == (expected.sha256, expected.read.timezone)
        assert choose(found.read.dbc, recover=False, timezone=found.read.timezone).sha256 == expected.sha256
    (tmp_path / "a.dbc").unlink()
    assert isinstance(completed(given(zone="UTC"), known, before.sha256), str)
    replaced = completed(given("b.dbc"), known, before.sha256)
    assert isinstance(replaced, Chosen)
    assert replaced.sha256 == given("b.dbc", zone="Europe/Berlin").sha256
