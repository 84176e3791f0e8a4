"""Reaches a board by the programs people already reach it with: ``ssh`` or ``adb``."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from platform_lib.errors import CompileError, ConfigError, IntegrityError, MissingPartError

# What the board sends back at most: outputs and times, no more.
_LARGEST_BYTES = 4 << 30
_POLL_S = 0.1
_CONNECT_S = 15
_EXIT = re.compile(r"drivetrain-exit:(\d+)\s*\Z")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:%-]*")


class Transport(Protocol):
    """A way to one board."""

    @property
    def kind(self) -> str:
        """``ssh`` or ``adb``."""

    @property
    def scratch(self) -> str:
        """A folder of the board where anybody may write."""

    def run(self, command: str, *, timeout_s: float) -> str:
        """Run a command of the board's shell and return what it printed.

        Raises:
            CompileError: It failed, or took too long.
            MissingPartError: The program that reaches the board is not here.
        """

    def push(self, folder: Path, remote: str, *, timeout_s: float) -> None:
        """Copy a folder's content into a new folder of the board."""

    def pull(self, remote: str, names: Sequence[str], into: Path, *, timeout_s: float) -> None:
        """Copy files and folders back, those of `names` that are there."""


@dataclass(frozen=True, slots=True)
class Ssh:
    """A board with an SSH server, ``sh`` and ``tar``.

    Attributes:
        host: As ``ssh`` takes it: a host, ``user@host``, or a name of its configuration.
        port: Its port, if not the usual one.
        identity: The private key to log in with, if not the usual one.
        known_hosts: Where the board's own key is known from, if not the usual file.
    """

    host: str
    port: int | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    kind: str = "ssh"
    scratch: str = "/tmp"  # noqa: S108 - of the board, in a folder that has to be new

    def __post_init__(self) -> None:
        if _HOST.fullmatch(self.host) is None:
            raise ConfigError(f"'{self.host}' is no host", where="--ssh", remedy="give HOST or USER@HOST")

    def command(self, remote: str) -> tuple[str, ...]:
        """Return the command line: never asks, and refuses a host whose key is not known."""
        return (
            "ssh",
            *("-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}", "-o", "StrictHostKeyChecking=yes"),
            *(() if self.known_hosts is None else ("-o", f"UserKnownHostsFile={self.known_hosts}")),
            *(() if self.port is None else ("-p", str(self.port))),
            *(() if self.identity is None else ("-i", str(self.identity))),
            "--",
            self.host,
            remote,
        )

    def run(self, command: str, *, timeout_s: float) -> str:
        """Run a command of the board's shell."""
        return _printed(_call(self.command(_marked(command)), timeout_s=timeout_s), command)

    def push(self, folder: Path, remote: str, *, timeout_s: float) -> None:
        """Send the folder as one tar file, into a folder that must not be there yet."""
        with tempfile.TemporaryFile() as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                tar.add(folder, arcname=".")
            stream.seek(0)
            unpack = f"mkdir -m 700 {remote} && tar -xf - -C {remote}"
            _printed(_call(self.command(_marked(unpack)), timeout_s=timeout_s, stdin=stream), unpack)

    def pull(self, remote: str, names: Sequence[str], into: Path, *, timeout_s: float) -> None:
        """Receive one tar file and unpack what was asked for, outside of which it can write nothing."""
        pack = f"cd {remote} && mkdir -p outputs && tar -cf - $(ls -d {' '.join(names)} 2>/dev/null)"
        with tempfile.TemporaryFile() as stream:
            _call(self.command(pack), timeout_s=timeout_s, stdout=stream)
            stream.seek(0)
            try:
                with tarfile.open(fileobj=stream, mode="r:") as tar:
                    wanted = [item for item in tar if item.name.partition("/")[0] in names]
                    tar.extractall(into, members=wanted, filter="data")
            except (tarfile.TarError, OSError) as error:
                raise IntegrityError(f"the board sent no readable tar file ({error})", where=self.host) from error


@dataclass(frozen=True, slots=True)
class Adb:
    """A board that ``adb`` reaches; the only one, or the one of a serial number."""

    serial: str | None = None
    kind: str = "adb"
    scratch: str = "/data/local/tmp"

    def __post_init__(self) -> None:
        if self.serial is not None and _HOST.fullmatch(self.serial) is None:
            raise ConfigError(f"'{self.serial}' is no serial number", where="--adb", remedy="see `adb devices`")

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the command line."""
        return ("adb", *(() if self.serial is None else ("-s", self.serial)), *arguments)

    def run(self, command: str, *, timeout_s: float) -> str:
        """Run a command of the board's shell; its status is printed, since old boards give none back."""
        return _printed(_call(self.command("shell", _marked(command)), timeout_s=timeout_s), command)

    def push(self, folder: Path, remote: str, *, timeout_s: float) -> None:
        """Copy the folder, which must not be there yet."""
        self.run(f"mkdir -m 700 {remote}", timeout_s=timeout_s)
        _call(self.command("push", f"{folder}/.", remote), timeout_s=timeout_s)

    def pull(self, remote: str, names: Sequence[str], into: Path, *, timeout_s: float) -> None:
        """Copy back what is there of `names`."""
        there = self.run(f"cd {remote} && ls -d {' '.join(names)} 2>/dev/null; true", timeout_s=timeout_s).split()
        for name in names:
            if name in there:
                _call(self.command("pull", f"{remote}/{name}", str(into / name)), timeout_s=timeout_s)


def _marked(command: str) -> str:
    """Have a command end by printing its status; it runs in a shell of its own, whatever it ends by."""
    return f"( {command}\n) 2>&1; echo drivetrain-exit:$?"


def _printed(output: str, command: str) -> str:
    found = _EXIT.search(output)
    shown = command if len(command) < 120 else command[:117] + "..."
    if found is None:
        raise CompileError(f"the board broke off: {shown}", remedy="look at the board, and run it again")
    said = output[: found.start()]
    if found[1] != "0":
        last = said.strip().splitlines()[-1:] or ["it said nothing"]
        raise CompileError(
            f"the board ended `{shown}` with status {found[1]}: {last[0][:300]}",
            remedy="run it on the board by hand",
        )
    return said


def _call(
    arguments: tuple[str, ...], *, timeout_s: float, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> str:
    """Run a program here and return what it printed, unless that went into `stdout`."""
    program = arguments[0]
    if shutil.which(program) is None:
        raise MissingPartError(
            f"{program} is not available here", remedy=f"install it ({_PACKAGES[program]}), or carry the kit by hand"
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sink = stdout or out
        process = subprocess.Popen(arguments, stdin=stdin or subprocess.DEVNULL, stdout=sink, stderr=err)  # noqa: S603
        try:
            status = _wait(process, sink, program, deadline_s=time.monotonic() + timeout_s)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if status != 0:
            err.seek(0)
            last = err.read(1 << 16).decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise CompileError(
                f"{program} failed with status {status}: {last[0][:300]}",
                remedy=f"try it by hand: {program} has to reach the board without asking",
            )
        out.seek(0)
        return out.read().decode(errors="replace")


def _wait(process: subprocess.Popen[bytes], sink: IO[bytes], program: str, *, deadline_s: float) -> int:
    while True:
        try:
            return process.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline_s:
                raise CompileError(
                    f"{program} took too long and was stopped", remedy="raise --timeout-s, or look at the board"
                ) from None
            if Path(f"/proc/self/fd/{sink.fileno()}").stat().st_size > _LARGEST_BYTES:
                raise CompileError(f"the board sends more than {_LARGEST_BYTES >> 30} GiB") from None


_PACKAGES = {"ssh": "openssh-client", "adb": "Android's platform tools"}
