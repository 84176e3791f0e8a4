from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from edge_compile.precision_search import Closeness
from edge_compile.search_notes import noting, read_notes, said_of

KEY = "model and samples"
STEM, HEAD, SKIP = Closeness(21.5), Closeness(inf, 0.25, "tunnel"), Closeness(40.0)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / ".search-out.jsonl"
    with noting(path, KEY, {}, of=4) as note:
        note("stem", STEM)
        note("head", HEAD)
    return path


def test_what_was_measured_is_known_again(notes: Path) -> None:
    assert read_notes(notes, KEY) == {"stem": STEM, "head": HEAD}
    assert said_of(notes) == "2 of 4 tensors measured"
    with noting(notes, KEY, read_notes(notes, KEY), of=4) as note:
        note("skip", SKIP)
    assert read_notes(notes, KEY) == {"stem": STEM, "head": HEAD, "skip": SKIP}


def test_another_models_notes_are_not_believed(notes: Path, tmp_path: Path) -> None:
    assert read_notes(notes, "another model") == {}
    assert read_notes(tmp_path / "none", KEY) == {}
    assert said_of(tmp_path / "none") is None


def test_a_line_cut_short_costs_that_line_alone(notes: Path) -> None:
    notes.write_text(notes.read_text()[:-9])
    assert read_notes(notes, KEY) == {"stem": STEM}
    assert said_of(notes) is None
    for text in ("", "{", "[1]\n", '{"key": "model and samples"}\n{"tensor": 1}\n'):
        notes.write_text(text)
        assert read_notes(notes, KEY) == {}
