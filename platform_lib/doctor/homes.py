"""The home folder as it is: layout, who uses it, what a killed command left. Nothing is changed or made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from platform_lib.catalog.liveness import ProcessIdentity
from platform_lib.doctor.model import Finding
from platform_lib.errors import HomeError
from platform_lib.home import LAYOUT_VERSION, Home, layout_version

# The longest socket that Ray makes below the home's short folder (`ray_jobs.session`), and Linux's limit.
# Source: Ray 2.60 session folder names; unix(7): sun_path is 108 bytes with the closing NUL.
_LONGEST_SOCKET = "/r4194304/session_2026-11-20_09-00-44_972963_4194304/sockets/plasma_store"
_SOCKET_LIMIT_BYTES = 107
_EVERYTHING = "every command that keeps something"


def check_home(root: Path) -> Iterator[Finding]:
    """Judge the home folder at `root`, which need not exist yet."""
    home = Home(root=root)
    yield _layout(root)
    yield _writable(root)
    yield socket_paths(home)
    if root.is_dir():
        yield _locks(home)
        yield _orphans(home)


def held_locks(folder: Path, proc_locks: Path = Path("/proc/locks")) -> dict[str, int]:
    """Lock name -> process that holds it, as the kernel lists them; asking takes no lock."""
    if not proc_locks.is_file():
        return {}
    holders = {}
    for line in proc_locks.read_text().splitlines():
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK":
            holders[int(fields[5].rpartition(":")[2])] = int(fields[4])
    found = {path.stem: holders.get(path.stat().st_ino) for path in sorted(folder.glob("*.lock"))}
    return {name: pid for name, pid in found.items() if pid is not None}


def _layout(root: Path) -> Finding:
    if not root.exists():
        return Finding("home", "home", "ok", f"{root}: not made yet, the first command makes it", demo=True)
    remedy = "restore home.json, or name another --home"
    if not (root / "home.json").exists():
        if root.is_dir() and not any(root.iterdir()):
            return Finding("home", "home", "ok", f"{root}: empty, the first command makes it", demo=True)
        return Finding("home", "home", "missing", f"{root} is no drivetrain home", _EVERYTHING, remedy, demo=True)
    try:
        version = layout_version(root)
    except HomeError as error:
        return Finding("home", "home", "missing", f"{root}: {error.what}", _EVERYTHING, error.remedy, demo=True)
    if version != LAYOUT_VERSION:
        detail = f"{root} has layout version {version}, this release works with {LAYOUT_VERSION}"
        remedy = "use the release that made it, or another --home"
        return Finding("home", "home", "missing", detail, _EVERYTHING, remedy, demo=True)
    return Finding("home", "home", "ok", f"{root}, layout version {version}", demo=True)


def _writable(root: Path) -> Finding:
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) and not _read_only(nearest):
        return Finding("home", "writable", "ok", str(nearest), demo=True)
    remedy = "name a writable --home"
    return Finding("home", "writable", "missing", f"{nearest} cannot be written to", _EVERYTHING, remedy, demo=True)


def _read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def socket_paths(home: Home) -> Finding:
    """Say whether the sockets of Ray and PostgreSQL can be named below this home's short folder."""
    length = len(os.fsencode(f"{home.short_path}{_LONGEST_SOCKET}"))
    detail = f"longest path {length} of {_SOCKET_LIMIT_BYTES} bytes, below {home.short_path}"
    if length > _SOCKET_LIMIT_BYTES:
        remedy = "set TMPDIR to a shorter folder, for example /tmp"
        return Finding("home", "sockets", "missing", detail, "Ray and PostgreSQL, demo", remedy, demo=True)
    return Finding("home", "sockets", "ok", detail, demo=True)


def _locks(home: Home) -> Finding:
    held = held_locks(home.root / "locks")
    if not held:
        return Finding("home", "locks", "ok", "none held")
    detail = ", ".join(f"{name} by process {pid}" for name, pid in held.items())
    return Finding("home", "locks", "warning", detail, remedy="commands are running here; wait, or use another --home")


def _orphans(home: Home) -> Finding:
    """Find what killed commands left: servers that no living command has registered as using."""
    orphans = [*_postgres_without_users(home), *_ray_without_driver(home)]
    if not orphans:
        return Finding("home", "orphans", "ok", "none")
    remedy = "nothing to do: the next command on this home adopts or clears them"
    return Finding("home", "orphans", "warning", ", ".join(orphans), remedy=remedy)


def _postgres_without_users(home: Home) -> Iterator[str]:
    """A PostgreSQL runs in the home's data folder although every user's ticket is a dead process's."""
    data = home.postgres / "data"
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        ours = Path(process.cwd()) == data
    except (OSError, ValueError, IndexError, psutil.Error):
        return  # none runs, or another account's
    tickets = (ticket.name.partition(".")[0] for ticket in (home.postgres / "users").glob("*"))
    if ours and not any(_alive(text) for text in tickets):
        yield f"PostgreSQL (process {process.pid})"


def _ray_without_driver(home: Home) -> Iterator[str]:
    """A Ray session's folder is there although the driver that it names is dead."""
    for driver in sorted(home.short_path.glob("r*/driver")):
        with suppress(OSError):
            if not _alive(driver.read_text()):
                yield f"Ray session {driver.parent}"


def _alive(text: str) -> bool:
    identity = ProcessIdentity.parse(text)
    return identity is not None and identity.alive
