from __future__ import annotations

import unicodedata
from pathlib import PurePath

from hypothesis import given
from hypothesis import strategies as st

from platform_lib.logs.export.names import file_names


def test_names_stay_readable() -> None:
    assert file_names(["/camera/front", "2:Engine_1", "CAN1/Räder", "漢字"]) == [
        "camera_front", "2_Engine_1", "CAN1_Räder", "漢字",
    ]  # fmt: skip


def test_streams_that_would_share_a_file_do_not() -> None:
    assert file_names(["/a/b", "/a_b", "/A/B", "a_b#2"]) == ["a_b", "a_b#2", "A_B#3", "a_b_2"]
    long = file_names(["x" * 500, "x" * 500 + "y"])
    assert len(set(long)) == 2


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=()), max_size=400), max_size=30))
def test_every_name_is_one_file_in_the_folder(streams: list[str]) -> None:
    names = file_names(streams)
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in names}) == len(streams)
    for name in names:
        assert PurePath(name).name == name
        assert not name.startswith(".")
        assert len(name.encode()) < 200
        assert name.isprintable()
