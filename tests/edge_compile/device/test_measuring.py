from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from boards import SAMPLES, Board, executable

from edge_compile.device.kit import COMMAND, listed_files
from edge_compile.device.measurement import check_board, outputs_of, read_facts
from edge_compile.device.measuring import Claim, measure
from edge_compile.device.transport import Adb, Ssh, Transport
from platform_lib.errors import CompileError, ConfigError, ContractError, IntegrityError, MissingPartError
from platform_lib.handoff.keys import SigningKey

ADB = Adb("R5C", scratch="/tmp")  # noqa: S108 - the stand-in's board is this machine
OPTIONS = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "StrictHostKeyChecking=yes"]


@pytest.fixture
def claim(key: SigningKey) -> Claim:
    return Claim("bench board, serial 7", "A. Person", key)


@pytest.mark.parametrize("transport", [Ssh("root@board"), ADB], ids=["ssh", "adb"])
def test_a_board_answers_and_says_what_it_is(
    transport: Transport, board: Board, kit: Path, claim: Claim, tmp_path: Path
) -> None:
    found = measure(kit, transport, tmp_path / "measured", claim, command=board.command())
    assert (found.measured_on, found.samples, found.facts["machine"]) == ("device", SAMPLES, "aarch64")
    assert (len(found.timings_us), found.tools) == (50, {"onnxruntime": "1.0-of-the-board"})
    assert found.transport == transport.kind
    assert {name: array.shape for name, array in outputs_of(tmp_path / "measured").items()} == {"a/y": (SAMPLES, 1, 3)}


def test_the_command_lines_are_as_recorded(board: Board, kit: Path, claim: Claim, tmp_path: Path) -> None:
    ssh = Ssh("root@board", 2222, Path("/keys/id"), Path("/keys/known"))
    head = [*OPTIONS, "-o", "UserKnownHostsFile=/keys/known", "-p", "2222", "-i", "/keys/id", "--", "root@board"]
    measure(kit, ssh, tmp_path / "one", claim, command=board.command())
    calls = board.calls()
    assert [call[: len(head)] for call in calls] == [head] * 6
    said = [" ".join(call[len(head) :]) for call in calls]
    remote = said[1].split()[4]
    assert remote.startswith("/tmp/drivetrain-")  # noqa: S108
    marked = "( {} ) 2>&1; echo drivetrain-exit:$?"
    assert said[1:] == [
        marked.format(f"mkdir -m 700 {remote} && tar -xf - -C {remote}"),
        marked.format(f"cd {remote} && sh facts.sh"),
        marked.format(f"cd {remote} && {board.command()}"),
        f"cd {remote} && mkdir -p outputs && tar -cf - $(ls -d outputs timings_us.txt tools.json 2>/dev/null)",
        marked.format(f"rm -rf {remote}"),
    ]
    (board.folder / "calls").unlink()
    measure(kit, ADB, tmp_path / "two", claim, command=board.command())
    assert all(call[:2] == ["-s", "R5C"] for call in board.calls())
    assert [call[2] for call in board.calls()] == ["shell", "shell", "push", *["shell"] * 3, *["pull"] * 3, "shell"]
    assert COMMAND == "python3 board_runner.py"


def test_nothing_is_left_on_the_board(board: Board, kit: Path, claim: Claim, tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("drivetrain-????????????????"))  # noqa: S108 - the stand-in's board is this machine
    measure(kit, Ssh("board"), tmp_path / "one", claim, command=board.command())
    with pytest.raises(CompileError, match="status 3"):
        measure(kit, Ssh("board"), tmp_path / "two", claim, command="exit 3")
    assert set(Path("/tmp").glob("drivetrain-????????????????")) <= before  # noqa: S108


def test_an_emulator_and_this_machine_are_no_boards(board: Board, kit: Path, claim: Claim, tmp_path: Path) -> None:
    board.machine("x86_64")
    with pytest.raises(ContractError, match="the vendor's runtime is its emulator"):
        measure(kit, Ssh("board"), tmp_path / "measured", claim, command=board.command())
    board.machine("aarch64", boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with pytest.raises(ContractError, match="this machine itself"):
        measure(kit, Ssh("board"), tmp_path / "measured", claim, command=board.command())
    assert len(board.calls()) == 2  # nothing was copied there
    assert not (tmp_path / "measured").exists()


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        ({}, ContractError, "it is 'nothing'"),
        ({"machine": "i686"}, ContractError, "emulator"),
        ({"machine": "aarch64", "changed": "m.bin", "whole": "3"}, IntegrityError, "m.bin is another"),
        ({"machine": "aarch64"}, IntegrityError, "none of 4 files"),
        ({"machine": "aarch64", "whole": "3"}, IntegrityError, "3 of 4 files"),
    ],
)
def test_a_board_that_does_not_add_up_is_refused(facts: dict[str, str], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        check_board(facts, files=4)
    check_board({"machine": "aarch64le", "whole": "4"}, files=4)  # QNX


def test_a_file_that_changed_on_its_way_is_found_by_the_board(
    board: Board, kit: Path, claim: Claim, tmp_path: Path
) -> None:
    (kit / "w8a16.ctx_qnn.bin").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"w8a16.ctx_qnn.bin is another on the board"):
        measure(kit, Ssh("board"), tmp_path / "measured", claim, command=board.command())


FAULTS = {
    "no output": ("true", MissingPartError, "left no such output"),
    "one output short": ("{program} && rm -r outputs/Result_9", MissingPartError, "left no such output"),
    "another size": ("{program} && printf abc >outputs/Result_0/a_y.raw", IntegrityError, "3 bytes, and"),
    "NaN": (
        "{program} && printf '\\377\\377\\377\\377\\0\\0\\0\\0\\0\\0\\0\\0' >outputs/Result_2/a_y.raw",
        IntegrityError,
        "NaN",
    ),
    "no time": ("{program} && echo 0 >timings_us.txt", IntegrityError, "not above zero"),
    "no number": ("{program} && echo fast >timings_us.txt", IntegrityError, "not one number a line"),
    "no tools": ("{program} && echo [] >tools.json", IntegrityError, "not tool and version"),
    "it fails": ("echo no backend; exit 9", CompileError, "status 9: no backend"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_answers_that_are_none_are_refused(fault: str, board: Board, kit: Path, claim: Claim, tmp_path: Path) -> None:
    command, error, words = FAULTS[fault]
    with pytest.raises(error, match=words):
        measure(kit, Ssh("b"), tmp_path / "out", claim, command=command.format(program=board.command()))
    assert not (tmp_path / "out").exists()


def test_a_board_that_cannot_be_reached_or_hangs(board: Board, kit: Path, claim: Claim, tmp_path: Path) -> None:
    start_s = time.monotonic()
    with pytest.raises(CompileError, match="took too long"):
        measure(kit, Ssh("b"), tmp_path / "out", claim, command="sleep 60", timeout_s=0.3)
    assert time.monotonic() - start_s < 30
    (board.folder / "offline").touch()
    with pytest.raises(CompileError, match="status 255: ssh: connect to host board"):
        measure(kit, Ssh("b"), tmp_path / "out", claim)


def test_without_the_program_the_kit_can_be_carried(
    board: Board, kit: Path, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPartError, match="adb is not available here") as caught:
        measure(kit, Adb(), tmp_path / "out", claim)
    assert "carry the kit by hand" in str(caught.value.remedy)


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "a b", "", "$(x)"])
def test_a_host_that_is_an_option_is_refused(host: str) -> None:
    with pytest.raises(ConfigError):
        Ssh(host)
    with pytest.raises(ConfigError):
        Adb(host)


def test_the_facts_of_this_machine(kit: Path) -> None:
    said = subprocess.run(["sh", "facts.sh"], cwd=kit, capture_output=True, text=True, check=True)
    facts = read_facts(said.stdout)
    assert (facts["machine"], facts["whole"]) == (os.uname().machine, str(len(listed_files(kit))))


# Against a real server, where there is one

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture
def server(reachable_tmp: Path) -> Iterator[Ssh]:
    folder, port = reachable_tmp, 20000 + os.getpid() % 20000
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    public = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\n"
    )
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=subprocess.PIPE, text=True)
    assert "listening" in process.stderr.readline()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    yield Ssh(f"{user}@127.0.0.1", port, folder / "user", folder / "known")
    process.terminate()
    process.wait()
    process.stderr.close()


@pytest.mark.skipif(SSHD is None, reason="no OpenSSH server on this machine")
def test_a_real_server_takes_a_kit_and_gives_answers_back(server: Ssh, kit: Path, reachable_tmp: Path) -> None:
    remote, back = f"{reachable_tmp}/remote", reachable_tmp / "back"
    back.mkdir()
    server.push(kit, remote, timeout_s=30)
    facts = read_facts(server.run(f"cd {remote} && sh facts.sh", timeout_s=30))
    assert facts["whole"] == str(len(listed_files(kit)))
    server.run(
        f"cd {remote} && mkdir outputs && echo 5 >outputs/a && echo 1 >timings_us.txt && echo x >secret", timeout_s=30
    )
    server.pull(remote, ("outputs", "timings_us.txt", "tools.json"), back, timeout_s=30)
    names = sorted(path.relative_to(back).as_posix() for path in back.rglob("*"))
    assert (names, (back / "outputs/a").read_text()) == (["outputs", "outputs/a", "timings_us.txt"], "5\n")
    with pytest.raises(CompileError, match="status 4"):
        server.run("exit 4", timeout_s=30)
    with pytest.raises(CompileError, match="File exists"):
        server.push(kit, remote, timeout_s=30)


@pytest.mark.skipif(SSHD is None, reason="no OpenSSH server on this machine")
def test_a_real_server_here_is_this_machine(server: Ssh, kit: Path, claim: Claim, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="this machine itself"):
        measure(kit, server, tmp_path / "measured", claim)


@pytest.mark.skipif(SSHD is None, reason="no OpenSSH server on this machine")
def test_a_real_server_of_an_unknown_key_is_not_spoken_to(server: Ssh, kit: Path, claim: Claim, tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    stranger = Ssh(server.host, server.port, server.identity, tmp_path / "none")
    with pytest.raises(CompileError, match=r"status 255: Host key verification failed"):
        measure(kit, stranger, tmp_path / "measured", claim)


def test_a_tar_file_that_leads_out_of_its_folder_is_refused(board: Board, tmp_path: Path) -> None:
    executable(board.folder / "programs" / "ssh", '#!/bin/sh\ncat "$BOARD/evil.tar"\n')
    (tmp_path / "evil").write_text("x")
    subprocess.run(
        ["tar", "-cPf", board.folder / "evil.tar", "--transform", "s,.*,outputs/../../escaped,", tmp_path / "evil"],
        check=True,
    )
    (tmp_path / "into").mkdir()
    with pytest.raises(IntegrityError, match="no readable tar"):
        Ssh("b").pull("/r", ("outputs",), tmp_path / "into", timeout_s=10)
    assert not (tmp_path / "escaped").exists()
    assert json.dumps([item.name for item in (tmp_path / "into").iterdir()]) == "[]"
