"""A release is fetched by its digest or not at all."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdk.delivery import commands, release, terraform
from cdk.delivery.release import TERRAFORM, Release, ReleaseError, fetch_release


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


def _archive(program: str = "terraform") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(program, b"#!/bin/sh\necho planned\n")
        archive.writestr("LICENSE.txt", b"...")
    return held.getvalue()


def _release(content: bytes) -> Release:
    digest = hashlib.sha256(content).hexdigest()
    return Release("terraform", "9.9.9", "https://unreachable.invalid", {"linux_amd64": digest})


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "terraform_9.9.9_linux_amd64.zip").write_bytes(_archive())
    return folder


@pytest.fixture
def server(mirror: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(mirror))) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_a_release_is_fetched_from_a_folder(mirror: Path, tmp_path: Path) -> None:
    path = fetch_release(_release(_archive()), tmp_path / "bin", built_for="linux_amd64", source=mirror.as_uri())
    assert path.read_bytes().startswith(b"#!/bin/sh")
    assert path.stat().st_mode & 0o111


def test_a_release_is_fetched_by_http(server: str, tmp_path: Path) -> None:
    assert fetch_release(_release(_archive()), tmp_path / "bin", built_for="linux_amd64", source=server).is_file()


def test_another_digest_writes_nothing(server: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="it is not what was released"):
        fetch_release(_release(b"another"), tmp_path / "bin", built_for="linux_amd64", source=server)
    assert not (tmp_path / "bin").exists()


def test_what_is_not_there_is_said(server: str, tmp_path: Path) -> None:
    wanted = Release("terraform", "0.0.1", server, {"linux_amd64": "0" * 64})
    with pytest.raises(ReleaseError, match="cannot be fetched"):
        fetch_release(wanted, tmp_path / "bin", built_for="linux_amd64")


def test_a_machine_without_a_pin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="not pinned for plan9_mips"):
        fetch_release(TERRAFORM, tmp_path, built_for="plan9_mips")


def test_an_archive_without_the_program_is_refused(mirror: Path, tmp_path: Path) -> None:
    content = _archive("tofu")
    (mirror / "terraform_9.9.9_linux_amd64.zip").write_bytes(content)
    with pytest.raises(ReleaseError, match="holds no program"):
        fetch_release(_release(content), tmp_path / "bin", built_for="linux_amd64", source=mirror.as_uri())


def test_a_plain_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no https"):
        fetch_release(_release(b""), tmp_path, built_for="linux_amd64", source="http://mirror.example")


def test_make_tools_fetches_only_what_is_not_there(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release of the test answers `version -json`, so that it is found once it is fetched."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("terraform", '#!/bin/sh\necho \'{"terraform_version": "9.9.9"}\'\n')
    (mirror / "terraform_9.9.9_linux_amd64.zip").write_bytes(held.getvalue())
    monkeypatch.setattr(commands, "TERRAFORM", _release(held.getvalue()))
    monkeypatch.setattr(release, "this_machine", lambda: "linux_amd64")
    for module in (commands, terraform):
        monkeypatch.setattr(module, "tools_folder", lambda: tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    words = ["tools", "--json", "--source", mirror.as_uri()]
    done = CliRunner().invoke(commands.app, words)
    assert done.exit_code == 0, done.exception
    assert '"version": "9.9.9"' in done.stdout
    (mirror / "terraform_9.9.9_linux_amd64.zip").unlink()
    assert CliRunner().invoke(commands.app, words).exit_code == 0


def test_the_pinned_release_is_recent_enough_for_locks_in_s3() -> None:
    assert tuple(map(int, TERRAFORM.version.split(".")[:2])) >= (1, 11)
    assert all(len(item) == 64 for item in TERRAFORM.sha256.values())
    assert release.this_machine().count("_") == 1
