"""The code that a job runs, as one archive: what git knows or would take, named by its content."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import ConfigError
from platform_lib.storage import publish_file, sha256_file

MOST_BYTES = 200 << 20
"""Ray's own limit of an uploaded package is 500 MiB; code is smaller, and data does not belong into it."""
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows: equal content gives equal bytes
_EXECUTABLE = 0o755
_PLAIN = 0o644


@dataclass(frozen=True, slots=True)
class Package:
    """An archive of code.

    Attributes:
        path: ``FOLDER/<sha256>.zip``.
        sha256: Digest of names, modes and content; not of the archive's compression.
        files: How many.
        bytes: Of the files.
        commit: What the tree was made from; None outside git.
        dirty: Whether files differ from that commit.
    """

    path: Path
    sha256: str
    files: int
    bytes: int
    commit: str | None
    dirty: bool


def pack(root: Path, folder: Path) -> Package:
    """Pack the working tree at `root`: tracked and new files, changed or not, and nothing that git ignores.

    Args:
        root: A git working tree.
        folder: Where archives are kept; one that is there is taken again.

    Raises:
        ConfigError: It is no working tree, or too large for code.
    """
    names = _names(root)
    digest, size = hashlib.sha256(), 0
    for name in names:
        path = root / name
        size += path.stat().st_size
        digest.update(f"{name}\0{_mode(path):o}\0{sha256_file(path)}\n".encode())
    if size > MOST_BYTES:
        largest = max(names, key=lambda name: (root / name).stat().st_size)
        raise ConfigError(
            f"the code has {size >> 20} MiB, more than {MOST_BYTES >> 20}; its largest file is {largest}",
            where=root,
            remedy="let git ignore data and results (.gitignore): a job reads them from the home",
        )
    target = folder / f"{digest.hexdigest()}.zip"
    if not target.exists():
        _write(root, names, target)
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False).strip() or None
    dirty = bool(_git(root, "status", "--porcelain").strip())
    return Package(target, digest.hexdigest(), len(names), size, commit, dirty)


def working_tree(start: Path) -> Path:
    """Return the git working tree that `start` lies in.

    Raises:
        ConfigError: There is none.
    """
    found = _git(start, "rev-parse", "--show-toplevel", check=False).strip()
    if not found:
        raise ConfigError(
            "not in a git working tree, so what belongs to the code is not known",
            where=start,
            remedy="name the tree with --code, or `git init` there",
        )
    return Path(found)


def _names(root: Path) -> list[str]:
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    # A file that was deleted and not committed is still in the index; a link could lead out of the tree.
    return sorted(
        name for name in listed.split("\0") if name and (root / name).is_file() and not (root / name).is_symlink()
    )


def _write(root: Path, names: list[str], target: Path) -> None:
    with (
        publish_file(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out,
    ):
        for name in names:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = (stat.S_IFREG | _mode(root / name)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, (root / name).read_bytes())


def _mode(path: Path) -> int:
    return _EXECUTABLE if path.stat().st_mode & stat.S_IXUSR else _PLAIN


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"git cannot tell what belongs to the code ({error})", where=root, remedy="install git, or name --code"
        ) from error
    return done.stdout if done.returncode == 0 else ""
