"""The code of a job: what git would take, and nothing else, under one digest."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from platform_lib.errors import ConfigError
from ray_jobs import packaging
from ray_jobs.packaging import pack, working_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "a.py").write_text("A = 1\n")
    (root / "pkg" / "new.py").write_text("NEW = 1\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "secret.env").write_text("TOKEN=1\n")
    (root / ".gitignore").write_text("*.env\n")
    (root / "outside").symlink_to(tmp_path)
    for command in (["init", "-q"], ["add", "pkg/a.py", "run.sh", ".gitignore"], ["commit", "-qm", "one"]):
        git(root, *command)
    return root


def git(root: Path, *command: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *command], check=True)


def test_tracked_and_new_files_are_in_and_ignored_ones_are_not(tree: Path, tmp_path: Path):
    found = pack(tree, tmp_path / "packages")
    with zipfile.ZipFile(found.path) as archive:
        assert sorted(archive.namelist()) == [".gitignore", "pkg/a.py", "pkg/new.py", "run.sh"]
        assert archive.getinfo("run.sh").external_attr >> 16 & 0o777 == 0o755
    assert found.path.name == f"{found.sha256}.zip"
    assert found.files == 4
    assert found.dirty
    assert found.commit is not None


def test_the_digest_is_of_the_content_and_names_alone(tree: Path, tmp_path: Path):
    one = pack(tree, tmp_path / "packages")
    (tree / "pkg" / "a.py").touch()
    (tree / "secret.env").write_text("TOKEN=2\n")
    assert pack(tree, tmp_path / "packages") == one
    git(tree, "add", "pkg/new.py")
    git(tree, "commit", "-qm", "two")
    assert pack(tree, tmp_path / "packages").sha256 == one.sha256
    (tree / "pkg" / "a.py").write_text("A = 2\n")
    assert pack(tree, tmp_path / "packages").sha256 != one.sha256
    (tree / "pkg" / "a.py").unlink()
    assert pack(tree, tmp_path / "packages").files == 3


def test_data_in_the_tree_is_refused_by_name(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packaging, "MOST_BYTES", 100)
    (tree / "frames.bin").write_bytes(b"x" * 200)
    with pytest.raises(ConfigError, match=r"its largest file is frames.bin"):
        pack(tree, tmp_path / "packages")


def test_outside_git_nothing_is_packed(tmp_path: Path):
    with pytest.raises(ConfigError, match="not in a git working tree"):
        working_tree(tmp_path)
