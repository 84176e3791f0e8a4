"""A local Ray for one command: started quietly in a short folder of the home, stopped with all its processes.

Each session has a folder of its own, so commands that run at once do not disturb each other. Every process of a
session inherits a variable naming that folder, and the folder names the driver by process id and start time: what a
kill -9 of the driver leaves is found by that, stopped and cleared before the next session starts.

Nothing is reported to anybody: usage statistics and the dashboard are off. Ray's ports ask for a token that is made
for the process and never written down.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import ray

from platform_lib.catalog.liveness import ProcessIdentity, orderly_termination
from platform_lib.environment import JOB_VARIABLE
from platform_lib.errors import HomeError, PlatformError
from platform_lib.home import Home
from platform_lib.short_folder import sweep_short_folders

logger = logging.getLogger(__name__)

ADDRESS_VARIABLE = "DRIVETRAIN_RAY_ADDRESS"
"""Tells a job which cluster it belongs to."""

OBJECT_STORE_BYTES = 512 << 20
_MARK = "DRIVETRAIN_RAY_SESSION"
_DRIVER = "driver"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the kernel keeps it, not a temporary file
_STOP_WAIT_S = 10.0
# How often an idle OpenMP thread looks for work before it sleeps. By default it goes on for milliseconds, on a core that
# another process may need: with two busy neighbours on two cores a training step took 250 to 430 ms so, 40 ms with
# this, and 7 to 11 ms either way on a quiet machine. Source: measured on 2026-11-20, torch 2.13.0, steps of the demo's size.
_SPINS = "5000"
# Of workers, above that of Ray's own processes, which must stay answering. Ray's default of 15 leaves a worker a thirtieth
# of a core that anybody else's process wants too; on a busy machine epochs took ten times as long so.
_NICENESS = "3"
# On a machine ten times too busy a node may need longer than the half minute that Ray gives it.
_STARTS = 2
_START_ERRORS = (RuntimeError, ValueError, OSError, ray.exceptions.RayError)
# Ray makes <folder>/session_2026-11-20_09-00-44_972963_<pid>/sockets/plasma_store; a socket's path holds 107 bytes.
# Source: unix(7), sun_path; ray 2.60, seen 2026-11-20.
_FOLDER_LIMIT_BYTES = 107 - len("/session_2026-11-20_09-00-44_972963_4194304/sockets/plasma_store")


@contextmanager
def local_ray(home: Home, cpus: int | None = None) -> Iterator[None]:
    """Run a local Ray for the block; inside a block that already has one, or in a cluster's job, join it.

    Args:
        home: Whose short folder holds Ray's sockets, logs and spilled objects.
        cpus: How many CPUs tasks may take; what this process may run on by default.

    Raises:
        HomeError: The temporary folder's path is too long for sockets, there is no loopback, or Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    if os.environ.get(JOB_VARIABLE):
        with _joined():
            yield
        return
    _refuse_without_loopback()
    with orderly_termination():
        folder = _claim_folder(home)
        try:
            with _environment(folder):
                _start(folder, cpus or len(os.sched_getaffinity(0)))
                try:
                    yield
                finally:
                    ray.shutdown()
        finally:
            _stop_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)


def answer_of(reference: Any, *, died: Callable[[str], PlatformError]) -> Any:
    """Fetch a task's answer.

    Args:
        reference: Of the task.
        died: Makes the error of a worker that died, from what happened to it.

    Raises:
        PlatformError: The task's own, without Ray's wrapping; or that of `died`.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, PlatformError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise died(f"a worker died: {str(error).strip().splitlines()[0]}") from error


def _refuse_without_loopback() -> None:
    """Say at once what Ray would wait ten minutes for: its processes talk over the loopback interface."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 5.0):
            pass
    except OSError as error:
        raise HomeError(
            f"the loopback interface does not work ({error.strerror}), over which Ray's processes talk",
            where="127.0.0.1",
            remedy="bring it up: `ip link set lo up`; nothing else of a network is needed",
        ) from error


def _claim_folder(home: Home) -> Path:
    """Clear what dead drivers left, and make this session's folder."""
    with home.lock("ray-sessions", wait_s=60.0):
        sweep_short_folders(_clear_dead)
        _clear_dead(home.short)
        folder = home.short / f"r{os.getpid()}"
        if len(os.fsencode(folder)) > _FOLDER_LIMIT_BYTES:
            raise HomeError(
                "the temporary folder's path is too long for Ray's sockets",
                where=folder,
                remedy="set TMPDIR to a short path such as /tmp",
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / _DRIVER).write_text(str(ProcessIdentity.current()))
    return folder


def _clear_dead(short: Path) -> bool:
    """Stop and clear the sessions in a short folder whose drivers died; return whether others live."""
    living = False
    for session in sorted(short.glob("r*")):
        if _is_alive(session):
            living = True
            continue
        logger.info("session=%s its driver died; clearing", session)
        _stop_processes(session)
        shutil.rmtree(session, ignore_errors=True)
    return living


def _is_alive(folder: Path) -> bool:
    try:
        driver = ProcessIdentity.parse((folder / _DRIVER).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return False
    return driver is not None and driver.alive


@contextmanager
def _joined() -> Iterator[None]:
    """Join the cluster whose job this process is."""
    with orderly_termination():
        on_termination = signal.getsignal(signal.SIGTERM)
        _tell_on_stderr()
        # Ray's own variable was seen to name a port that nobody listened on.
        ray.init(address=os.environ.get(ADDRESS_VARIABLE, "auto"), log_to_driver=False, configure_logging=False)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_termination)
        try:
            yield
        finally:
            ray.shutdown()


class JobTakingRay:
    """A Ray that takes jobs over HTTP, and its nodes, each with processes of its own.

    Args:
        folder: Where its sessions lie.
        token: Whoever has it may run anything there.
        cpus: How many CPUs tasks may take on its first node.
    """

    def __init__(self, folder: Path, token: str, *, cpus: int) -> None:
        self._folder, self.token = folder, token
        self._nodes = [
            self._node(
                head=True,
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                temp_dir=str(folder),
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                dashboard_port=_free_port(),
            )
        ]

    @property
    def jobs(self) -> str:
        """Address of its Jobs API."""
        return f"http://{self._nodes[0].webui_url}"

    @property
    def gcs(self) -> str:
        """Address that jobs and nodes join."""
        return str(self._nodes[0].gcs_address)

    @property
    def session(self) -> Path:
        """Ray's folder of this session."""
        return Path(self._nodes[0].get_session_dir_path())

    @property
    def living(self) -> bool:
        """Whether the head's processes all run."""
        return bool(self._nodes[0].remaining_processes_alive())

    def add_node(self, *, cpus: int, resources: Mapping[str, float] | None = None) -> None:
        """Start one more node; `resources` are what it announces besides, see `platform_lib.abilities`."""
        head = self._nodes[0]
        self._nodes.append(
            self._node(
                head=False,
                num_cpus=cpus,
                resources=dict(resources or {}),
                object_store_memory=OBJECT_STORE_BYTES // 4,
                gcs_address=head.gcs_address,
                redis_address=head.redis_address,
                include_log_monitor=False,
                node_manager_port=0,
            )
        )

    def close(self) -> None:
        """End all nodes, the head last."""
        for node in reversed(self._nodes):
            node.kill_all_processes(check_alive=False, allow_graceful=False)

    def _node(self, *, head: bool, **options: Any) -> Any:
        # What `ray.cluster_utils.Cluster` does. `ray start` would take two ports that are the same for every Ray of a machine.
        parameters = ray._private.parameter.RayParams(  # noqa: SLF001
            num_gpus=0,
            min_worker_port=0,
            max_worker_port=0,
            plasma_directory=_plasma_directory(self._folder),
            dashboard_agent_listen_port=None,
            **options,
        )
        return ray._private.node.Node(parameters, head=head, shutdown_at_exit=False, spawn_reaper=False)  # noqa: SLF001


@contextmanager
def job_taking_ray(home: Home, *, cpus: int) -> Iterator[JobTakingRay]:
    """Run a Ray of its own that takes jobs for the block; the process has ``RAY_AUTH_TOKEN`` since its start.

    Raises:
        HomeError: It does not come up.
    """
    _refuse_without_loopback()
    mode, token = os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]
    with orderly_termination():
        folder = _claim_folder(home)
        try:
            with _environment(folder):
                _set({"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": token})
                with closing(_started_ray(folder, token, cpus)) as started:
                    yield started
        finally:
            _stop_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _started_ray(folder: Path, token: str, cpus: int) -> JobTakingRay:
    for left in reversed(range(_STARTS)):
        try:
            return JobTakingRay(folder, token, cpus=cpus)
        except Exception as error:  # Ray raises a plain one where a node does not come up in its 30 s
            if not left:
                raise _no_start(error, folder) from error
            logger.warning("session=%s Ray did not come up in time; starting it once more", folder)
            _clear_failed(folder)
    raise AssertionError("unreachable: the last start returns or raises")


def _start(folder: Path, cpus: int) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells at length that authentication is on
    on_termination = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        # Ray forks only to run another program, which is safe.
        warnings.filterwarnings("ignore", message="lance is not fork-safe", category=UserWarning)
        for left in reversed(range(_STARTS)):
            try:
                _init(folder, cpus)
                break
            except Exception as error:
                late = type(error) is Exception  # what Ray raises where a node does not come up in its 30 s
                if not late and not isinstance(error, _START_ERRORS):
                    raise
                if not late or not left:
                    raise _no_start(error, folder) from error
                logger.warning("session=%s Ray did not come up in time; starting it once more", folder)
                _clear_failed(folder)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_termination)  # Ray puts its own, which prints a stack and exits with 15


def _no_start(error: Exception, folder: Path) -> HomeError:
    return HomeError(
        f"Ray does not start: {(str(error).strip().splitlines() or [type(error).__name__])[0]}",
        where=folder,
        remedy="look at free memory, disk space and how busy the machine is, then run the command again",
    )


def _clear_failed(folder: Path) -> None:
    """Stop what came up of a session that did not, and clear its files; the folder stays this driver's."""
    ray.shutdown()
    _stop_processes(folder)
    for session in folder.glob("session_*"):
        if session.is_dir() and not session.is_symlink():
            shutil.rmtree(session, ignore_errors=True)
        else:
            session.unlink(missing_ok=True)


@cache
def _tell_on_stderr() -> None:
    """Have Ray's driver say on stderr what it says of dead workers: stdout is the command's, often JSON."""
    told = ray._private.worker.print_to_stdstream  # noqa: SLF001 - there is no option for it

    def on_stderr(data: dict[str, Any], *args: Any, **options: Any) -> None:
        told({**data, "is_err": True}, *args, **options)

    ray._private.worker.print_to_stdstream = on_stderr  # noqa: SLF001


def _init(folder: Path, cpus: int) -> None:
    _tell_on_stderr()
    ray.init(
        address="local",  # never the cluster that RAY_ADDRESS may name
        num_cpus=cpus,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(folder),
        _plasma_directory=_plasma_directory(folder),
        runtime_env=_runtime_env(sys.executable),
    )


def _free_port() -> int:
    """Return a port of the loopback interface that is free now; Ray tries the next ones where it is taken by then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _runtime_env(interpreter: str) -> dict[str, str] | None:
    """Quote an interpreter whose path needs it: Ray starts workers with variables of their own through a shell.

    Without it such a worker never comes up, and Ray waits for it for ever. Elsewhere there is no such environment,
    since with one Ray starts all its workers that way.
    """
    quoted = shlex.quote(interpreter)
    return None if quoted == interpreter else {"py_executable": quoted}


def _plasma_directory(folder: Path) -> str | None:
    """Say where objects are kept: shared memory, or the session's folder where that is too small (containers)."""
    if _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > OBJECT_STORE_BYTES * 1.1:
        return None
    return str(folder)


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Set what Ray and its workers inherit, for the block."""
    root = str(Path(__file__).resolve().parent.parent)
    before = os.environ.get("PYTHONPATH")
    changes: Mapping[str, str | None] = {
        _MARK: str(folder),
        "PYTHONPATH": root if not before else f"{root}{os.pathsep}{before}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Unset, `ray.init` turns token authentication on; set, it is believed only if Ray was not imported before.
        "RAY_AUTH_MODE": None,
        "RAY_AUTH_TOKEN": _token(),
        "RAY_enable_metrics_collection": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_worker_niceness": os.environ.get("RAY_worker_niceness", _NICENESS),
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", _SPINS),
        "PYTHONWARNINGS": "ignore",  # a worker's warnings about its own libraries have no reader
    }
    before_start = _inherited()
    _set(changes)
    try:
        yield
    finally:
        _set(dict.fromkeys(_inherited()))
        _set(before_start)


def _inherited() -> dict[str, str | None]:
    """Return the variables that this module or Ray itself sets."""
    return {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "PYTHON", "GOMP_", _MARK))}


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@cache
def _token() -> str:
    """One token a process: Ray reads it once and keeps it."""
    return secrets.token_hex(32)


def _stop_processes(folder: Path) -> None:
    """Kill every process of the session in `folder`; this process is none of them."""
    members = [item for item in psutil.process_iter() if item.pid != os.getpid() and _belongs(item, folder)]
    for process in members:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(members, timeout=_STOP_WAIT_S)


def _belongs(process: psutil.Process, folder: Path) -> bool:
    """Tell a session's process by the variable it inherited or, where Ray retitled it, by the logs it writes to.

    A process that names itself (``ray::IDLE``) overwrites the memory where the kernel keeps its first environment.
    """
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(_MARK) == str(folder):
            return True
        return process.name().startswith("ray") and any(
            Path(item.path).is_relative_to(folder) for item in process.open_files()
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
