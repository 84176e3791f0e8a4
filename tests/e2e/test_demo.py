"""The whole way through, on few drives: finishes, skips what is done, survives kills, refuses a second one.

One home serves all of it: each test builds on the state the kills before it left, as on a real machine.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DRIVES = 36
SEED = 3


def command(home: Path, *extra: str) -> list[str]:
    options = ["--drives", str(DRIVES), "--seed", str(SEED), "--json", "--home", str(home)]
    return [sys.executable, "-m", "platform_lib.cli", "demo", *options, *extra]


def start(home: Path) -> subprocess.Popen[str]:
    with (home.parent / "demo.err").open("a") as errors:
        return subprocess.Popen(command(home), stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)


def finish(home: Path) -> dict:
    run = subprocess.run(command(home), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    return json.loads(run.stdout)


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def content(home: Path) -> dict[str, str]:
    """What a bundle is of, by digest: artefacts, inputs, evidence. Provenance names clocks, paths and the home's own key."""
    from platform_lib.manifest import read_manifest
    from platform_lib.storage import sha256_file, walk_files

    bundle = home / "bundles" / "demo-sa8255p"
    manifests = bundle / "evidence" / "manifests"
    found = {path.stem: read_manifest(path) for path in manifests.glob("*.json")}
    return {
        **{
            path.relative_to(bundle).as_posix(): sha256_file(path)
            for path in walk_files(bundle)
            if path.parent not in {bundle, manifests}
        },
        **{f"{name} by": manifest.code.sha256 + manifest.config_sha256 for name, manifest in found.items()},
    }


def strays(home: Path) -> list[str]:
    """Command lines of processes that still work for this home."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(home) in line or (home.parent / "short").as_posix() in line:
                found.append(line)
    return found


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    # Not pytest's own folder: that one is closed to others, and run by root PostgreSQL is another user.
    with tempfile.TemporaryDirectory(prefix="drivetrain-demo-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


@pytest.fixture(scope="module")
def killed_then_finished(home) -> dict:
    """Kill the process group at seeded moments, two seconds to half a minute in, then let it finish."""
    draw = random.Random(SEED)  # noqa: S311 - moments of the kills, no secret
    for moment_s in (draw.uniform(2, 8), draw.uniform(8, 16), draw.uniform(10, 30), draw.uniform(10, 30)):
        process = start(home)
        try:
            process.wait(timeout=moment_s)
            break
        except subprocess.TimeoutExpired:
            kill_group(process)
    return finish(home)


def test_a_demo_killed_at_any_moment_finishes(killed_then_finished, home):
    assert Path(killed_then_finished["page"]).stat().st_size > 100_000
    assert len(killed_then_finished["stages"]) == 11
    assert strays(home) == []


def test_the_page_needs_no_network(killed_then_finished):
    page = Path(killed_then_finished["page"]).read_text()
    # Namespaces of the charts are names, not links: what a browser would fetch is what counts.
    fetched = re.findall(
        r"""(?:src|href|action|data)\s*=\s*["'](?!data:|#)([^"']+)|url\((?!#)([^)]+)\)|@import""", page
    )
    assert fetched == []


@pytest.fixture(scope="module")
def again_and_another(killed_then_finished, home) -> tuple[dict, dict]:
    """Run it again, and try to start another one meanwhile: what each said."""
    first = start(home)
    try:
        time.sleep(1.0)
        second = subprocess.run(command(home), capture_output=True, text=True, check=False)
    finally:
        output, _ = first.communicate()  # not wait(): its document is larger than a pipe
    assert (first.returncode, second.returncode) == (0, 1)
    return json.loads(output), json.loads(second.stdout)


def test_a_second_run_skips_every_stage_and_says_so(again_and_another):
    again, _ = again_and_another
    assert [stage["title"] for stage in again["stages"] if not stage["skipped"]] == ["Verify: every byte, offline"]
    page = Path(again["page"]).read_text()
    assert page.count("up to date, skipped (digest ") == 10
    assert "4 in quarantine" in page
    assert "truncated.mcap" in page


def test_a_second_demo_at_once_is_refused(again_and_another):
    _, refused = again_and_another
    assert "demo" in refused["error"]["what"]


def test_nothing_lies_outside_the_home(killed_then_finished, home):
    assert {path.name for path in home.parent.iterdir()} <= {"home", "demo.err"}


def test_a_changed_byte_in_the_bundle_is_found(killed_then_finished, home, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(home / "bundles" / "demo-sa8255p", copy)
    verify = [sys.executable, "-m", "platform_lib.cli", "verify", str(copy), "--home", str(home), "--json"]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    victim = max((path for path in copy.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 1


@pytest.mark.soak
def test_a_killed_demo_and_an_undisturbed_one_make_the_same_bundle(killed_then_finished, home):
    with tempfile.TemporaryDirectory(prefix="drivetrain-demo-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        other = Path(folder) / "home"
        finish(other)
        made = content(home)
        assert {"model/model.onnx", "compiled/w8mixed.ctx_qnn.bin", "evidence/gates.json", "run by"} <= set(made)
        assert content(other) == made
