"""Logs from an object store over HTTP that misbehaves: whole, or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_store import BUCKET, Fault, FaultyStore, faulty_store

from platform_lib.errors import ConfigError, IntegrityError, MissingPartError, PlatformError
from platform_lib.lake.bucket import Patience, fetch, list_logs

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of the broken connections

_QUICK = Patience(tries=3, first_wait_s=0.001, longest_wait_s=0.002)
_CONTENT = os.urandom(200_000)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with faulty_store(monkeypatch) as made:
        yield made


def _fetched(folder: Path, key: str = "a/one.mcap") -> bytes:
    (log,) = list_logs(f"s3://{BUCKET}/{key}", _QUICK)
    return fetch(log, folder, _QUICK).read_bytes()


def test_a_prefix_gives_the_logs_below_it_and_bags_as_one(store: FaultyStore, tmp_path: Path) -> None:
    for key in ("a/one.mcap", "a/night/two.MF4", "a/bag/metadata.yaml", "a/bag/bag_0.db3", "ab/three.mcap"):
        store.put(key, b"content of " + key.encode())
    for key in ("a/notes.txt", "a/.hidden/four.mcap", "a/folder.mcap/"):
        store.put(key, b"")
    logs = list_logs(f"s3://{BUCKET}/a", _QUICK)
    assert [item.uri.removeprefix(f"s3://{BUCKET}/") for item in logs] == ["a/bag", "a/night/two.MF4", "a/one.mcap"]
    bag = fetch(logs[0], tmp_path, _QUICK)
    assert (bag.name, sorted(item.name for item in bag.iterdir())) == ("bag", ["bag_0.db3", "metadata.yaml"])
    assert fetch(logs[1], tmp_path, _QUICK).relative_to(tmp_path) == Path("night/two.MF4")
    assert [item.uri for item in list_logs(f"s3://{BUCKET}/a/notes.txt", _QUICK)] == [f"s3://{BUCKET}/a/notes.txt"]
    assert len(list_logs(f"s3://{BUCKET}", _QUICK)) == 4
    assert list_logs(f"s3://{BUCKET}/none", _QUICK) == []
    with pytest.raises(ConfigError, match="no such bucket"):
        list_logs("s3://no-such-bucket/a", _QUICK)


@pytest.mark.parametrize("fault", ["500", "503", "cut", "short", "closed"])
def test_what_passes_is_waited_out(store: FaultyStore, tmp_path: Path, fault: Fault) -> None:
    store.put("a/one.mcap", _CONTENT)
    store.plan = lambda path, number: fault if number < 2 else None  # of the listing, and of the object
    assert _fetched(tmp_path) == _CONTENT
    assert store.gets[f"/{BUCKET}/a/one.mcap"] == 3


@pytest.mark.parametrize("fault", ["500", "503", "closed"])
def test_a_store_that_stays_away_is_given_up_with_the_reason(store: FaultyStore, tmp_path: Path, fault: Fault) -> None:
    store.put("a/one.mcap", _CONTENT)
    store.plan = lambda path, number: fault if path.endswith("mcap") else None
    with pytest.raises(MissingPartError, match="3 times in a row at byte 0") as caught:
        _fetched(tmp_path)
    assert fault != "503" or "SlowDown" in caught.value.what
    store.plan = lambda path, number: fault
    with pytest.raises(PlatformError):
        list_logs(f"s3://{BUCKET}/a", _QUICK)


def test_a_log_that_is_replaced_or_arrives_changed_is_refused(store: FaultyStore, tmp_path: Path) -> None:
    store.put("a/one.mcap", _CONTENT)
    (log,) = list_logs(f"s3://{BUCKET}/a", _QUICK)
    store.plan = lambda path, number: "flip"
    with pytest.raises(IntegrityError, match="ETag"):
        fetch(log, tmp_path, _QUICK)
    store.plan = lambda path, number: "flip" if number < 3 else None
    assert fetch(log, tmp_path, _QUICK).read_bytes() == _CONTENT
    store.put("a/one.mcap", _CONTENT[:-1])
    with pytest.raises(IntegrityError, match="replaced"):
        fetch(log, tmp_path, _QUICK)
