"""What is on the disk, by the kernel's word, when the catalogue is about to name it."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from platform_lib.catalog.model import LakeHead
from platform_lib.errors import HomeError
from platform_lib.home import open_home
from platform_lib.lake.durable import DurableFileIO
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import files_below, make_folder
from platform_lib.lake.store import Store
from platform_lib.lake.writer import SignalWriter, Tag, WrittenFiles, sample_rows, write_samples


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Paths that this process has flushed; the flush itself is the real one."""
    paths: set[Path] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        paths.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def _unflushed(root: Path, flushed: set[Path]) -> set[Path]:
    """Files and folders below `root` whose content or name nobody has flushed."""
    files = files_below(root, but="nothing")
    return (files | {file.parent for file in files} | {file.parent.parent for file in files}) - flushed - {root.parent}


def _write(store: Store, ingest_id: int) -> WrittenFiles:
    tag = Tag(ingest_id, "d", "f", "none_present")
    with SignalWriter(store.signals_data, tag) as writer:
        writer.add("s", pa.record_batch({"timestamp_ns": pa.array([1], pa.int64()), "x": pa.array([0.5])}))
        files = writer.finish()
    return WrittenFiles(files, write_samples(store.samples_uri, iter([_rows(ingest_id)])))


def _rows(ingest_id: int) -> pa.RecordBatch:
    columns = {"timestamp_ns": pa.array([1]), "publish_ns": pa.array([1]), "encoding": pa.array(["raw"])}
    tag = Tag(ingest_id, "d", "f", "none_present")
    return sample_rows(tag, "/s", {**columns, "data": pa.array([b"x"], pa.binary_view())})


@pytest.mark.slow
def test_every_file_and_every_name_is_flushed_when_a_commit_returns(flushed: set[Path], reachable_tmp: Path) -> None:
    with Lake.open(open_home(reachable_tmp / "home")) as lake:
        lake.store.mend(None)
        lake.store.create()
        root = lake.store.signals_folder.parent
        assert root.parent in flushed
        assert _unflushed(root, flushed) == set()
        lake.store.append([_write(lake.store, 1), _write(lake.store, 2)])
        assert _unflushed(root, flushed) == set()
        lake.store.drop([1], {})
        assert _unflushed(root, flushed) == set()
        (root / "signals" / "metadata" / "planted").touch()
        assert _unflushed(root, flushed) == {root / "signals" / "metadata" / "planted"}


@pytest.mark.slow
def test_a_torn_version_that_nobody_saw_is_taken_back_and_a_seen_one_is_told(reachable_tmp: Path) -> None:
    with Lake.open(open_home(reachable_tmp / "home")) as lake:
        store = lake.store
        store.create()
        head = store.append([_write(store, 1)])
        store.append([_write(store, 2)])
        newest, seen, *_ = sorted((store.samples_uri / "_versions").glob("*.manifest"))
        newest.write_bytes(newest.read_bytes()[:20])  # what a power loss before the flush may leave
        store.mend(head)
        assert store.append([_write(store, 3)]).lance_version == head.lance_version + 1
        assert store.samples(head).count_rows() == 1
        store.mend(head)
        for manifest in (newest, seen):
            manifest.write_bytes(b"")
        with pytest.raises(HomeError, match=f"version {head.lance_version} of the sample store"):
            store.mend(LakeHead(None, head.lance_version))


@pytest.mark.slow
def test_a_torn_version_of_the_raw_frames_is_taken_back(reachable_tmp: Path) -> None:
    with Lake.open(open_home(reachable_tmp / "home")) as lake:
        store = lake.store
        store.create()
        rows = _write(store, 1)
        store.raw.append(write_samples(store.raw.uri, iter([_rows(1)])))
        store.raw.append(write_samples(store.raw.uri, iter([_rows(2)])))
        newest, *_ = sorted((store.raw.uri / "_versions").glob("*.manifest"))
        newest.write_bytes(newest.read_bytes()[:20])
        store.mend(None)
        assert store.raw.counts() == {1: 1}
        assert store.append([rows]).lance_version == 2


def test_a_stream_is_flushed_when_it_is_closed_and_no_file_is_replaced_unasked(
    flushed: set[Path], tmp_path: Path
) -> None:
    path = tmp_path / "a" / "b" / "x.json"
    file = DurableFileIO().new_output(str(path))
    with file.create() as stream:
        stream.write(b"{}")
        assert path not in flushed
    assert {path, path.parent, path.parent.parent, tmp_path} <= flushed
    assert path.read_bytes() == b"{}"
    with pytest.raises(FileExistsError):
        file.create()


def test_a_folder_that_is_there_is_left_alone(flushed: set[Path], tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert flushed == set()
