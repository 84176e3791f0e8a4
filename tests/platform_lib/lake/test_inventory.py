"""Which versions go: those that were replaced long ago, whatever their age."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from platform_lib.lake.inventory import forget_versions, replaced_before


def test_a_version_goes_when_it_was_replaced_before_the_moment() -> None:
    versions = [(7, 10.0), (8, 20.0), (9, 500.0)]
    assert replaced_before(versions, 5.0) == []
    assert replaced_before(versions, 30.0) == [7], "8 is old, but was the newest until 500"
    assert replaced_before(versions, 501.0) == [7, 8]
    assert replaced_before([], 1.0) == []
    assert replaced_before([(1, 0.0)], 9.0) == [], "the newest stays"


@pytest.mark.slow
def test_what_readers_saw_until_just_now_is_still_there_after_an_expiry(tmp_path: Path) -> None:
    """An old version that a compaction has just replaced: whoever began to read it goes on."""
    uri = tmp_path / "t.lance"
    lance.write_dataset(pa.table({"a": list(range(10))}), str(uri))
    lance.write_dataset(pa.table({"a": list(range(10))}), str(uri), mode="append")
    time.sleep(1.1)
    reader = lance.dataset(str(uri))
    lance.dataset(str(uri)).optimize.compact_files()
    assert forget_versions(uri, timedelta(seconds=1)) == 1, "the first: it was replaced at once, long ago"
    assert reader.to_table()["a"].to_pylist() == [*range(10), *range(10)]
    assert lance.dataset(str(uri), version=reader.version).count_rows() == 20
    assert forget_versions(uri, timedelta(0)) >= 1
    with pytest.raises((OSError, ValueError)):
        lance.dataset(str(uri), version=reader.version)
