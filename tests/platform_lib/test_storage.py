"""Publishing is whole or absent, also under kill -9; digests notice every change."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from platform_lib import storage
from platform_lib.storage import publish_bytes, publish_file, publish_folder, sha256_file, sha256_tree, sweep_unfinished

# Publishes numbered versions of one file and one folder without end; says "ready" once the first ones are there.
PUBLISHER = """
import sys
from itertools import count
from pathlib import Path
from platform_lib import storage
root = Path(sys.argv[1])
if sys.argv[2] == "two renames":
    storage._exchange = lambda one, other: False
for number in count():
    with storage.publish_file(root / "file") as file:
        file.write_text(f"{number}\\n" * 2000)
    with storage.publish_folder(root / "folder") as folder:
        (folder / "sub").mkdir()
        for name in ("a", "b", "sub/c", "sub/d"):
            (folder / name).write_text(f"{number}\\n" * 500)
    if number == 0:
        print("ready", flush=True)
"""


def _kill_a_publisher(root: Path, way: str, after_s: float) -> None:
    with subprocess.Popen([sys.executable, "-c", PUBLISHER, str(root), way], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


# Publishes over what is there, in one forked child after the other; each is killed at a later moment than the one before
# (the n-th time Python asks the system for something), until one comes through. After each, somebody looks.
EVERY_MOMENT = """
import os, signal, sys
from itertools import count
from pathlib import Path
from platform_lib import storage

def die_at(number):
    seen = count()
    def hook(event, arguments):
        if next(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def publish(root):
    with storage.publish_folder(root / "folder") as folder:
        (folder / "sub").mkdir()
        (folder / "a").write_text("new")
        (folder / "sub" / "b").write_text("new")
    storage.publish_bytes(root / "file", b"new" * 100_000)

base, way = Path(sys.argv[1]), sys.argv[2]
if way == "two renames":
    storage._exchange = lambda one, other: False
for number in count():
    root = base / str(number)
    (root / "folder" / "sub").mkdir(parents=True)
    (root / "folder" / "a").write_text("old")
    (root / "folder" / "sub" / "b").write_text("old")
    (root / "file").write_bytes(b"old" * 100_000)
    child = os.fork()
    if child == 0:
        die_at(number)
        publish(root)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_at_whatever_moment_the_kill_comes_it_leaves_the_old_or_the_new(tmp_path: Path, way: str) -> None:
    subprocess.run([sys.executable, "-c", EVERY_MOMENT, str(tmp_path), way], check=True)
    seen = set()
    for root in tmp_path.iterdir():
        if way == "two renames":
            sweep_unfinished(root)
        folder, file = _versions([root / "folder" / "a", root / "folder" / "sub" / "b"]), (root / "file").read_bytes()
        assert folder in ({"old"}, {"new"}), root
        assert file in (b"old" * 100_000, b"new" * 100_000), root
        sweep_unfinished(root)
        assert sorted(path.name for path in root.iterdir()) == ["file", "folder"]
        seen.add((*folder, file[:3]))
    assert seen == {("old", b"old"), ("new", b"old"), ("new", b"new")}
    assert len(list(tmp_path.iterdir())) > 20, "too few moments to mean anything"


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise RuntimeError


def _versions(paths: list[Path]) -> set[str]:
    return {line for path in paths for line in path.read_text().splitlines()}


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_killed_publisher_leaves_the_old_or_the_new_never_a_mixture(tmp_path: Path, way: str) -> None:
    moments = random.Random(f"moments {way}")  # noqa: S311 - seeded on purpose
    names = {"a", "b", "sub/c", "sub/d"}
    for turn in range(6):
        root = tmp_path / str(turn)
        root.mkdir()
        _kill_a_publisher(root, way, after_s=moments.uniform(0.0, 0.05))
        if way == "two renames":
            sweep_unfinished(root)  # a kill between the two renames is mended at the next start
        folder = root / "folder"
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {path.relative_to(folder).as_posix() for path in files} == names
        assert len(_versions(files)) == 1
        assert len(_versions([root / "file"])) == 1
        sweep_unfinished(root)
        assert sorted(path.name for path in root.iterdir()) == ["file", "folder"]


def test_a_kill_between_two_renames_is_mended_by_the_sweep(tmp_path: Path) -> None:
    (tmp_path / ".tmp-old-0123456789ab-lake").mkdir()
    (tmp_path / ".tmp-old-0123456789ab-lake" / "rows").write_text("old")
    (tmp_path / ".tmp-0123456789ab-lake").mkdir()
    assert sweep_unfinished(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]
    assert (tmp_path / "lake" / "rows").read_text() == "old"


def test_the_sweep_deletes_the_replaced_folder_and_touches_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".tmp-old-0123456789ab-lake").mkdir()
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "rows").write_text("new")
    (tmp_path / ".tmp-0123456789ab-file").write_text("half")
    (tmp_path / "precious.tmp-not").write_text("mine")
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "lake")
    assert sweep_unfinished(tmp_path) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "precious.tmp-not"]
    assert (tmp_path / "lake" / "rows").read_text() == "new"
    assert sweep_unfinished(tmp_path / "absent") == 0


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_failing_block_leaves_the_old_folder_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "two renames":
        monkeypatch.setattr(storage, "_exchange", lambda one, other: False)
    target = tmp_path / "folder"
    with publish_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), publish_folder(target) as folder:
        _write_half(folder / "a")
    assert (target / "a").read_text() == "old"
    with publish_folder(target) as folder:
        (folder / "b").write_text("new")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_rename_that_fails_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_exchange", lambda one, other: False)
    target = tmp_path / "folder"
    with publish_folder(target) as folder:
        (folder / "a").write_text("old")
    rename = Path.rename

    def failing(self: Path, goal: Path) -> Path:
        if Path(goal) == target and not self.name.startswith(".tmp-old-"):
            raise OSError(5, "planted")
        return rename(self, goal)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="planted"), publish_folder(target) as folder:
        (folder / "a").write_text("new")
    assert (target / "a").read_text() == "old"


def test_a_folder_takes_the_place_of_a_file_and_a_file_that_of_a_file(tmp_path: Path) -> None:
    target = tmp_path / "thing"
    publish_bytes(target, b"one")
    publish_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    with publish_folder(target) as folder:
        (folder / "a").write_text("three")
    assert (target / "a").read_text() == "three"
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_who_reads_the_old_file_while_it_is_replaced_reads_all_of_it(tmp_path: Path) -> None:
    publish_bytes(tmp_path / "file", b"old")
    with (tmp_path / "file").open("rb") as reader:
        publish_bytes(tmp_path / "file", b"new")
        assert reader.read() == b"old"


def test_a_failing_block_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    publish_bytes(target, b"old")
    with pytest.raises(RuntimeError), publish_file(target) as file:
        _write_half(file)
    assert target.read_bytes() == b"old"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_tree_digest_notices_content_name_and_hidden_files(tmp_path: Path) -> None:
    def digest(files: dict[str, str]) -> str:
        root = tmp_path / f"tree{len(list(tmp_path.iterdir()))}"
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return sha256_tree(root)

    plain = digest({"a": "1", "sub/b": "2"})
    assert plain == digest({"sub/b": "2", "a": "1"})
    changed = [{"a": "1", "sub/b": "3"}, {"a": "1", "sub/c": "2"}, {"a": "1"}, {"a": "2", "sub/b": "1"}]
    hidden = {"a": "1", "sub/b": "2", ".gitignore": ""}
    assert len({plain, digest(hidden), *map(digest, changed)}) == 6


def test_a_tree_digest_takes_names_that_are_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").write_text("1")
    assert len(sha256_tree(tmp_path)) == 64


def test_a_file_digest_covers_what_lies_beyond_the_first_piece(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(bytes(3 << 20))
    other.write_bytes(bytes((3 << 20) - 1) + b"\1")
    assert sha256_file(one) != sha256_file(other)
