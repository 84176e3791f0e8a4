"""The digest covers the code a step runs, and nothing else: measured on a copy of a small package of our own name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from platform_lib.code_digest import code_sha256

ROOT = Path(__file__).resolve().parents[2]
TREE = {
    "ray_jobs/__init__.py": '"""Room."""\n',
    "ray_jobs/steps/__init__.py": "from .inside import value\n",
    "ray_jobs/steps/inside.py": "value = 1\n",
    "ray_jobs/steps/job.py": (
        "from typing import TYPE_CHECKING\n"
        "from ray_jobs.steps import sibling\n"
        "from . import relative\n"
        "from ..parent import thing\n"
        "import package_that_is_not_installed\n"
        "raise RuntimeError('digesting code never runs it')\n"
        "def run():\n    from ray_jobs.lazy.deep import work\n    return work\n"
    ),
    "ray_jobs/steps/sibling.py": "import json\n",
    "ray_jobs/steps/relative.py": "",
    "ray_jobs/steps/table.yaml": "a: 1\n",
    "ray_jobs/parent.py": "thing = 1\n",
    "ray_jobs/lazy/__init__.py": "",
    "ray_jobs/lazy/deep.py": "work = 1\n",
    "ray_jobs/lazy/page.html": "<p>\n",
    "ray_jobs/other/__init__.py": "",
    "ray_jobs/other/unrelated.py": "",
    "ray_jobs/steps/neighbour.py": "",
    "ray_jobs/steps/notes.txt": "",
    "ray_jobs/other/table.yaml": "",
}
COUNTS = [
    "ray_jobs/__init__.py",
    "ray_jobs/steps/__init__.py",
    "ray_jobs/steps/inside.py",
    "ray_jobs/steps/job.py",
    "ray_jobs/steps/sibling.py",
    "ray_jobs/steps/relative.py",
    "ray_jobs/steps/table.yaml",
    "ray_jobs/parent.py",
    "ray_jobs/lazy/__init__.py",
    "ray_jobs/lazy/deep.py",
    "ray_jobs/lazy/page.html",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _digests(tree: Path, changes: list[str]) -> list[str]:
    """Return the digest before and with each file changed in turn, from one fresh interpreter that finds `tree`."""
    program = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(tree)!r}]
sys.path.append({str(ROOT)!r})
from platform_lib import code_digest
def digest():
    code_digest._own_imports.cache_clear()
    return code_digest.code_sha256("ray_jobs.steps.job")
print(digest())
for name in {changes!r}:
    path = Path({str(tree)!r}, name)
    before = path.read_bytes()
    path.write_bytes(before + b"\\n# changed\\n")
    print(digest())
    path.write_bytes(before)
print(digest())
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_file_the_step_reaches_alters_the_digest(tree: Path) -> None:
    first, *changed, last = _digests(tree, COUNTS)
    assert first == last
    unchanged = [name for name, digest in zip(COUNTS, changed, strict=True) if digest == first]
    assert unchanged == []
    assert len(set(changed)) == len(COUNTS)


def test_what_the_step_does_not_reach_leaves_the_digest_alone(tree: Path) -> None:
    first, *changed, last = _digests(tree, sorted(set(TREE) - set(COUNTS)))
    assert set(changed) == {first} == {last}


@pytest.mark.parametrize("name", ["platform_lib.no_such_module", "json", "", "platform_lib.storage.sha256_file"])
def test_a_misspelt_module_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no module of"):
        code_sha256(name)


def test_asking_imports_nothing() -> None:
    program = (
        "import sys\nfrom platform_lib.code_digest import code_sha256\ncode_sha256('platform_lib.cli')\n"
        "print(' '.join(n for n in sys.modules if n.startswith('platform_lib.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["platform_lib.code_digest"]


def test_several_modules_in_any_order() -> None:
    pair = code_sha256("platform_lib.storage", "platform_lib.errors")
    assert pair == code_sha256("platform_lib.errors", "platform_lib.storage")
    assert pair != code_sha256("platform_lib.storage")
