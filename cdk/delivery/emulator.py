"""The AWS emulator of `ENV=local`: a moto server on loopback that outlives the command, so that a second plan finds the first.

It keeps everything in memory, Terraform's state included: stopping it forgets the environment, whole.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import psutil
from pydantic import ValidationError

from cdk.delivery.failures import InfrastructureError
from cdk.model import Strict
from platform_lib.home import Home
from platform_lib.storage import publish_bytes

logger = logging.getLogger(__name__)

_START_S = 60.0
_STOP_S = 10.0
_LOOPBACK = "127.0.0.1"
# It outlives the command that started it; while the command lives, it is the parent that has to ask how it ended.
_CHILDREN: list[subprocess.Popen[bytes]] = []


class Server(Strict):
    """A running emulator.

    Attributes:
        pid: Its process.
        started_s: When that process began, seconds since 1970: a pid is used again, a start time is not.
        port: Where it listens, on loopback.
    """

    pid: int
    started_s: float
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{_LOOPBACK}:{self.port}"

    def environment(self) -> Mapping[str, str]:
        """Return what leads an AWS client, and Terraform, to it and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PROFILE": "",
            "AWS_SESSION_TOKEN": "",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": _LOOPBACK,
            "no_proxy": _LOOPBACK,
        }


def running(home: Home) -> Server | None:
    """Return the emulator of a home if it runs and answers."""
    try:
        server = Server.model_validate_json(_record(home).read_bytes())
    except (OSError, ValidationError):
        return None
    return server if _alive(server) and _answers(server) else None


def start(home: Home, *, port: int | None = None) -> Server:
    """Return the home's emulator, started if it does not run yet.

    Args:
        home: Whose.
        port: Where it is to listen; any free port by default.

    Raises:
        InfrastructureError: The port is taken, or it does not start.
    """
    with home.lock("emulator", wait_s=_START_S):
        found = running(home)
        if found is not None:
            if port is not None and port != found.port:
                raise InfrastructureError(
                    f"the emulator of this home listens on port {found.port}",
                    where=f"port {port}",
                    remedy="leave the port out, or stop it first: `drivetrain infra emulator stop`",
                )
            return found
        chosen = _free_port(port)
        log = home.logs / "emulator.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                [sys.executable, "-m", "moto.server", "-H", _LOOPBACK, "-p", str(chosen)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=home.root,
                env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
                start_new_session=True,
            )
        _CHILDREN.append(process)
        server = Server(pid=process.pid, started_s=psutil.Process(process.pid).create_time(), port=chosen)
        publish_bytes(_record(home), server.model_dump_json().encode())
        _wait(server, process, log)
        logger.info("emulator pid=%s port=%s", server.pid, server.port)
        return server


def stop(home: Home) -> bool:
    """Stop the home's emulator; return whether one ran. What was applied in it is gone then."""
    with home.lock("emulator", wait_s=_START_S):
        try:
            server = Server.model_validate_json(_record(home).read_bytes())
        except (OSError, ValidationError):
            return False
        if _alive(server):
            process = psutil.Process(server.pid)
            process.terminate()
            try:
                process.wait(_STOP_S)
            except psutil.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        _record(home).unlink(missing_ok=True)
        return True


def _record(home: Home) -> Path:
    folder = home.root / "infra"
    folder.mkdir(exist_ok=True)
    return folder / "emulator.json"


def _alive(server: Server) -> bool:
    for child in _CHILDREN:
        child.poll()
    try:
        process = psutil.Process(server.pid)
        return abs(process.create_time() - server.started_s) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _answers(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/moto-api/", timeout=5.0) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, wanted or 0))
        except OSError as error:
            raise InfrastructureError(
                f"port {wanted} is taken by another program ({error.strerror})",
                where="the AWS emulator",
                remedy="name another with --port, or leave it out: any free one will do",
            ) from error
        return int(probe.getsockname()[1])


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise InfrastructureError(
                f"the AWS emulator ended at once: {said[0]}",
                where=log,
                remedy="install the extra 'infra', or free its port",
            )
        if _answers(server):
            return
        time.sleep(0.1)
    process.kill()
    raise InfrastructureError(
        f"the AWS emulator did not answer in {_START_S:g} s", where=log, remedy="run the command again"
    )
