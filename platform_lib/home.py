"""The home folder: where everything one machine makes is kept, and the locks that guard it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import ConfigError, HomeBusyError, HomeError
from platform_lib.short_folder import make_short_folder, short_path
from platform_lib.storage import publish_bytes

logger = logging.getLogger(__name__)

HOME_NAME = ".drivetrain"
LAYOUT_VERSION = 3
LAKE_VARIABLE = "DRIVETRAIN_LAKE"
_MARKER = "home.json"
# A bucket's name, and a prefix of signs that mean themselves in paths, in addresses and in SQL, without empty or dotted parts.
# Source: Amazon S3 user guide, "Bucket naming rules" and "Object key naming guidelines" (safe characters), 2026-11.
_BUCKET_LAKE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?!\.{1,2}(/|$))[A-Za-z0-9!_.*() =@,+-]+)*")
_WRITABLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")  # without control characters and undecodable bytes
_WAIT_FOR_OTHER_S = 3600.0
_HELD: set[int] = set()


def _let_go_in_child() -> None:
    # A forked worker (a pool, a data loader) shares the lock's open file and would keep it after a killed parent.
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside one home folder; see `docs/reference/home.md` for what each holds.

    Attributes:
        root: The absolute path of the home folder.
    """

    root: Path

    @property
    def drives(self) -> Path:
        """Raw logs written by the built-in simulator, one folder a drive set."""
        return self.root / "drives"

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL's data folder."""
        return self.root / "postgres"

    @property
    def lake(self) -> Path:
        """Iceberg warehouse and Lance sample store, unless `bucket_lake` says that they lie elsewhere."""
        return self.root / "lake"

    @property
    def bucket_lake(self) -> str | None:
        """Where in a bucket this home's lake lies (``s3://bucket/prefix``); None for one in the home itself."""
        marker = self.root / _MARKER
        return _recorded_lake(marker) if marker.exists() else None

    @property
    def datasets(self) -> Path:
        """Training datasets, one folder each."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """Training and evaluation runs, one folder each."""
        return self.root / "runs"

    @property
    def compiled(self) -> Path:
        """Compiled models, one folder a model and target."""
        return self.root / "compiled"

    @property
    def bundles(self) -> Path:
        """Signed bundles."""
        return self.root / "bundles"

    @property
    def elsewhere(self) -> Path:
        """Notes of compiles and bundles that were written outside the home, one a file."""
        return self.root / "elsewhere"

    @property
    def mlflow(self) -> Path:
        """MLflow's artefacts; its database is in the embedded PostgreSQL."""
        return self.root / "mlflow"

    @property
    def keys(self) -> Path:
        """Local signing keys, readable by their owner only."""
        return self.root / "keys"

    @property
    def reports(self) -> Path:
        """Pages made for people."""
        return self.root / "reports"

    @property
    def logs(self) -> Path:
        """What the parts wrote about themselves."""
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """Unfinished work; whatever lies here may be deleted when no command runs."""
        return self.root / "scratch"

    @property
    def short_path(self) -> Path:
        """A short per-home folder for sockets (Ray and PostgreSQL refuse socket paths over 107 bytes)."""
        return short_path(self.root)

    @property
    def short(self) -> Path:
        """The folder of `short_path`, made on use and entered by this user alone."""
        return make_short_folder(self.root)

    @contextmanager
    def lock(self, name: str, *, wait_s: float = 0.0, shared: bool = False) -> Iterator[None]:
        """Hold the named lock of this home; the kernel releases it when the process dies, however it dies.

        Children, started programs and forked workers alike, do not inherit it, so an orphan cannot keep it.

        Args:
            name: What is guarded, for example ``"demo"``.
            wait_s: How long to wait for another holder before giving up.
            shared: For readers: any number of them at once, but not beside a holder who changes what is guarded.

        Raises:
            HomeBusyError: Another process still holds it after `wait_s`.
            HomeError: The home cannot be written to.
        """
        path = self.root / "locks" / f"{name}.lock"
        try:
            path.parent.mkdir(exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeError(
                f"cannot be locked ({error.strerror})", where=path, remedy="name a writable --home"
            ) from error
        _HELD.add(descriptor)
        try:
            _acquire(descriptor, path, name=name, deadline=time.monotonic() + wait_s, shared=shared)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            if descriptor in _HELD:  # not in a forked child, where the number may be another file's by now
                _HELD.remove(descriptor)
                os.close(descriptor)

    @contextmanager
    def turn(self, *names: str) -> Iterator[None]:
        """Hold the named locks, one after the other, waiting up to an hour for another holder with a word about it.

        Raises:
            HomeBusyError: Another process did not end in that time.
        """
        with ExitStack() as held:
            for name in names:
                try:
                    held.enter_context(self.lock(name))
                except HomeBusyError as busy:
                    logger.warning("%s; waiting for it", busy.what)
                    held.enter_context(self.lock(name, wait_s=_WAIT_FOR_OTHER_S))
            yield


def _acquire(descriptor: int, path: Path, *, name: str, deadline: float, shared: bool) -> None:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise HomeBusyError(
                    f"another command (process {holder}) is at work on '{name}' in this home",
                    where=path,
                    remedy="wait for it to end, or use another name or another --home",
                ) from None
            time.sleep(0.1)
        else:
            return


def find_home(explicit: Path | None = None, *, start: Path | None = None) -> Path:
    """Say where the home is, without making it.

    Order: `explicit` (``--home``), ``DRIVETRAIN_HOME``, the nearest ``.drivetrain/`` from `start` upward, and
    else ``.drivetrain/`` in `start` (the current folder by default).

    Raises:
        HomeError: It is no path, or none that can be written down.
    """
    if explicit is not None:
        return _named(explicit, "--home")
    from_environment = os.environ.get("DRIVETRAIN_HOME")
    if from_environment:
        return _named(Path(from_environment), "DRIVETRAIN_HOME")
    try:
        here = (start or Path.cwd()).resolve()
    except FileNotFoundError as error:
        raise HomeError(
            "the current folder was deleted", where="--home", remedy="change into one that exists, or name a --home"
        ) from error
    for folder in (here, *here.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return here / HOME_NAME


def _named(path: Path, where: str) -> Path:
    """Return a home's absolute path, which databases and manifests can write down."""
    try:
        root = path.expanduser().resolve()
    except (RuntimeError, FileNotFoundError) as error:  # ~ of an unknown account; relative to a deleted folder
        raise HomeError(f"'{path}' is no folder: {error}", where=where, remedy="name it by its full path") from error
    if not _WRITABLE.fullmatch(str(root)):
        raise HomeError(f"{str(root)!a} holds bytes that are no text", where=where, remedy="name a folder in letters")
    return root


def open_home(
    explicit: Path | None = None, *, start: Path | None = None, make: bool = True, own_lake: bool = False
) -> Home:
    """Open the home folder, making it on first use unless the command only reads.

    ``DRIVETRAIN_LAKE`` names where the lake of a home lies, and is written into it: from then on the home knows.

    Args:
        explicit: What ``--home`` says.
        start: From where to look for one.
        make: Whether it is made where there is none.
        own_lake: For homes that live no longer than the command: their lake lies in them, whatever the variable says.

    Raises:
        HomeError: There is none and `make` is False, it has a layout version this release does not know, or is a folder of
            something else; its lake is another one than ``DRIVETRAIN_LAKE`` names.
        ConfigError: ``DRIVETRAIN_LAKE`` names no place in a bucket.
    """
    wanted = None if own_lake else wanted_lake()
    root = find_home(explicit, start=start)
    marker = root / _MARKER
    if not os.path.lexists(marker):
        if not make and wanted is None:
            raise HomeError(
                "there is no home here, so there is nothing to read",
                where=root,
                remedy="name it with --home or DRIVETRAIN_HOME, or fill one with `drivetrain ingest`",
            )
        _make(root, marker)
    version = layout_version(root)
    if version != LAYOUT_VERSION:
        raise HomeError(
            f"this home has layout version {version}, this release works with {LAYOUT_VERSION}",
            where=root,
            remedy="use the release that made it, or another --home"
            + (", and ingest its logs there anew" if version < LAYOUT_VERSION else ""),
        )
    if wanted is not None:
        _settle_lake(root, marker, wanted)
    return Home(root=root)


def wanted_lake() -> str | None:
    """Return what ``DRIVETRAIN_LAKE`` names, without a slash at its end; None where it is not set.

    Raises:
        ConfigError: It names no place in a bucket.
    """
    text = os.environ.get(LAKE_VARIABLE, "").rstrip("/")
    if not text:
        return None
    if not _BUCKET_LAKE.fullmatch(text):
        raise ConfigError(
            f"'{text}' is no place for a lake",
            where=LAKE_VARIABLE,
            remedy="write s3://bucket/prefix with letters, digits and . _ - + = @ , ( ) ! * in the prefix; unset it for a lake"
            " in the home",
        )
    return text


def _recorded_lake(marker: Path) -> str | None:
    found = _read_marker(marker).get("lake")
    if found is None or (isinstance(found, str) and _BUCKET_LAKE.fullmatch(found)):
        return found
    raise _unreadable(marker)


def _settle_lake(root: Path, marker: Path, wanted: str) -> None:
    """Write down where the lake lies, once; a home never changes its lake."""
    recorded = _recorded_lake(marker)
    if recorded == wanted:
        return
    own = root / "lake"
    if recorded is not None or (own.is_dir() and any(own.iterdir())):
        raise HomeError(
            f"this home's lake is {recorded or own}, and {LAKE_VARIABLE} names {wanted}",
            where=root,
            remedy=f"unset {LAKE_VARIABLE} to go on with this home's own lake, or use another --home for that one",
        )
    publish_bytes(marker, json.dumps({**_read_marker(marker), "lake": wanted}).encode())


def layout_version(root: Path) -> int:
    """Return the layout version that the home at `root` carries.

    Raises:
        HomeError: Its marker is missing or is not what a home's marker is.
    """
    version = _read_marker(root / _MARKER).get("layout_version")
    if type(version) is not int:
        raise _unreadable(root / _MARKER)
    return version


def _read_marker(marker: Path) -> dict[str, object]:
    try:
        found = json.loads(marker.read_bytes())
    except (ValueError, OSError) as error:
        raise _unreadable(marker) from error
    if not isinstance(found, dict):
        raise _unreadable(marker)
    return found


def _unreadable(marker: Path) -> HomeError:
    return HomeError(
        "the home marker cannot be read", where=marker, remedy="restore it, or move the folder away and start anew"
    )


def _make(root: Path, marker: Path) -> None:
    try:
        if root.is_dir() and any(item.name != "locks" and not item.name.startswith(".tmp-") for item in root.iterdir()):
            raise HomeError("not empty and not a drivetrain home", where=root, remedy="name an empty or new folder")
        root.mkdir(parents=True, exist_ok=True)
        publish_bytes(marker, json.dumps({"layout_version": LAYOUT_VERSION}).encode())
    except OSError as error:
        raise HomeError(f"cannot be made ({error.strerror})", where=root, remedy="name a writable --home") from error
