from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from platform_lib.erasure.needles import Needles, distinctive, joined, scan, text_needles
from platform_lib.erasure.pieces import Pieces, content_needles


def _blob(seed: int, size: int = 4000) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@pytest.mark.parametrize("offset", [0, 1, 5, 7, 8, 13, (8 << 20) - 1400, (8 << 20) - 2409])
def test_a_piece_is_found_at_every_offset_and_across_reads(tmp_path: Path, offset: int) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"\0" * offset + _blob(1) + b"end")
    found, looked = scan(tmp_path, content_needles([_blob(1)]))
    assert [(item.path.name, item.content) for item in found] == [("file", 3)]
    assert looked == offset + 4003
    assert scan(tmp_path, content_needles([_blob(2)]))[0] == []
    assert scan(tmp_path, content_needles([_blob(1)]), leave=[tmp_path / "in"])[0] == []


def test_names_are_found_long_and_short_and_never_by_what_others_share(tmp_path: Path) -> None:
    ours, other = "car-17_2026-06-01T08-00-00Z-s7-0001", "car-17_2026-06-01T08-00-00Z-s7-0002"
    piece = distinctive(ours, [other])
    assert piece is not None
    assert (piece in ours.encode(), piece in other.encode()) == (True, False)
    assert distinctive("run-0000", ["run-00001"]) is None
    assert distinctive("short", []) is None
    assert distinctive("a long recording", []) is None
    short = distinctive("car-1775", [])
    assert short is not None
    (tmp_path / "a").write_text(f"..{ours}")
    (tmp_path / "b").write_text(f"..{other} car-1775")
    found, _ = scan(tmp_path, text_needles([piece, short]))
    assert [(item.path.name, item.texts, item.content) for item in found] == [("a", 1, 0), ("b", 1, 0)]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_picture_in_a_page_is_found_wherever_its_groups_begin(tmp_path: Path, before: int) -> None:
    page = base64.b64encode(b"x" * before + _blob(1) + b"end").decode()
    (tmp_path / "page.html").write_text(f'<img src="data:image/jpeg;base64,{page}">')
    (found,) = scan(tmp_path, content_needles([_blob(1)]))[0]
    assert (found.path.name, found.content) == ("page.html", 1)
    assert scan(tmp_path, content_needles([_blob(2)]))[0] == []


def test_what_every_image_has_is_no_piece() -> None:
    assert len(content_needles([b"\0" * 5000, b"ab" * 3000, b"tiny"])) == 0


def test_needles_survive_the_catalogue_and_tell_nothing() -> None:
    blob = _blob(3)
    needles = joined([content_needles([blob]), text_needles([b"sixteen bytes ok", b"8 bytes."])])
    written = needles.to_bytes()
    back = Needles.from_bytes(written)
    assert [part.tolist() for part in (back.content, back.texts, back.short_texts)] == [
        part.tolist() for part in (needles.content, needles.texts, needles.short_texts)
    ]
    assert not any(blob[at : at + 8] in written for at in range(len(blob) - 8))
    assert len(Needles.from_bytes(joined([]).to_bytes())) == 0


def test_a_piece_that_stays_elsewhere_gives_way_to_one_that_tells() -> None:
    """One equal row of two lidar scans, at other offsets, takes that row out of the search and nothing else."""
    ours, shared = _blob(1), _blob(1)[1400:1416]
    pieces = Pieces()
    pieces.add([ours])
    staying = pieces.among_staying()
    staying.look([_blob(2)[:333] + shared + _blob(3)])
    chosen = pieces.choose(staying.shared)
    assert (chosen.shared, chosen.samples, chosen.bare) == (1, 1, 0)
    assert len(chosen.needles) == 3 + 3  # three places, and one of them as base64
    plain = content_needles([ours])
    assert len(np.setdiff1d(plain.content, chosen.needles.content)) == 1 + 3  # the row itself, whose text stood for all
    staying.look([ours])
    all_shared = pieces.choose(staying.shared)
    assert (len(all_shared.needles), all_shared.bare) == (0, 1)


def test_what_every_sample_that_goes_has_is_looked_for_last(tmp_path: Path) -> None:
    background = _blob(9, 700)
    blobs = [_blob(seed, 2000)[:600] + background + _blob(seed + 50, 700) for seed in range(10)]
    (tmp_path / "back").write_bytes(background)
    assert scan(tmp_path, content_needles(blobs))[0] == []
    (tmp_path / "scan").write_bytes(blobs[3])
    assert [item.path.name for item in scan(tmp_path, content_needles(blobs))[0]] == ["scan"]
