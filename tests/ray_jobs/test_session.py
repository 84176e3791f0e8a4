"""A local Ray's whole life, kills included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray

from platform_lib.errors import HomeError
from platform_lib.home import Home, open_home
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_USE = """
import sys, time
from pathlib import Path
import ray
from platform_lib.home import open_home
from ray_jobs.session import local_ray
with local_ray(open_home(Path(sys.argv[1])), cpus=1):
    ray.get(ray.remote(lambda: 1).remote())
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


def _processes(home: Home) -> list[str]:
    """Processes that name the home's short folder on their command line or write below it."""
    found = []
    for process in psutil.process_iter():
        try:
            mentions = " ".join([*process.cmdline(), *(item.path for item in process.open_files())])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if str(home.short_path) in mentions:
            found.append(process.name())
    return found


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "RAY" in name or name.startswith("PYTHON")}


def test_tasks_run_ours_is_importable_and_nothing_is_left(home: Home) -> None:
    before = _environment()
    with local_ray(home, cpus=1):
        assert _processes(home)
        told = ray.get(ray.remote(lambda: (__import__("platform_lib").__file__, dict(os.environ))).remote())
        assert Path(told[0]).is_relative_to(Path(__file__).resolve().parents[2])
        assert told[1]["RAY_USAGE_STATS_ENABLED"] == "0"
        assert ray.cluster_resources()["CPU"] == 1
        assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == min(19, os.nice(0) + 3), (
            "its share on a busy machine"
        )
        with local_ray(home, cpus=3):  # joins the one that runs
            assert ray.cluster_resources()["CPU"] == 1
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert _processes(home) == []
    assert list(home.short.glob("r*")) == []
    assert _environment() == before


def test_a_killed_session_is_cleared_by_the_next_and_a_terminated_one_clears_itself(home: Home) -> None:
    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _USE, str(home.root)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        return child

    with start() as killed:
        killed.kill()
    orphaned = list(home.short.glob("r*"))
    assert orphaned
    with start() as terminated:
        assert not orphaned[0].exists()
        terminated.send_signal(signal.SIGTERM)
        assert terminated.wait(timeout=60) == 128 + signal.SIGTERM
    assert _processes(home) == []
    assert list(home.short.glob("r*")) == []


def test_what_a_kill_left_of_a_home_that_is_gone_is_stopped_and_swept_by_another(home: Home, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _USE, str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        (home.root / "home.json").unlink()
        home.root.rename(tmp_path / "away")
        with local_ray(open_home(tmp_path / "other"), cpus=1):
            assert _processes(home), "a living driver keeps its folder, whatever became of its home"
        child.kill()
    with local_ray(open_home(tmp_path / "other"), cpus=1):
        assert not home.short_path.exists()
        assert _processes(home) == []


def test_a_temporary_folder_too_deep_for_sockets_is_refused(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 15)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(HomeError, match="TMPDIR"), local_ray(home):
        pass


_ACTOR = """
import sys
import threading
import time
from pathlib import Path
import ray
from platform_lib.home import open_home
from ray_jobs.session import local_ray
@ray.remote
class Worker:
    def variable(self):
        import os
        return os.environ["OF_ITS_OWN"], sys.executable
with local_ray(open_home(Path(sys.argv[1])), cpus=1):
    worker = Worker.options(runtime_env={"env_vars": {"OF_ITS_OWN": "yes"}}).remote()
    print(*ray.get(worker.variable.remote(), timeout=45), flush=True)
"""


def test_a_worker_with_variables_of_its_own_starts_from_an_environment_whose_path_has_a_space(tmp_path: Path) -> None:
    elsewhere = tmp_path / "my check'out" / ".venv"  # this very environment under another path
    (elsewhere / "bin").mkdir(parents=True)
    (elsewhere / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (elsewhere / "pyvenv.cfg").write_bytes((Path(sys.prefix) / "pyvenv.cfg").read_bytes())
    (elsewhere / "lib").symlink_to(Path(sys.prefix) / "lib")
    command = [str(elsewhere / "bin" / "python"), "-c", _ACTOR, str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split(" ", 1) == ["yes", f"{elsewhere}/bin/python\n"], done.stderr[-2000:]


@pytest.mark.soak
def test_a_node_that_does_not_come_up_is_started_once_more(home: Home) -> None:
    """The first node manager is frozen as it starts: half a minute later Ray gives it up."""
    frozen: list[psutil.Process] = []
    ended = threading.Event()

    def freeze_the_first() -> None:
        while not frozen and not ended.wait(0.002):
            for process in psutil.process_iter(["name"]):
                if process.info["name"] == "raylet" and str(home.short) in " ".join(process.cmdline()):
                    process.suspend()
                    frozen.append(process)

    watcher = threading.Thread(target=freeze_the_first)
    watcher.start()
    try:
        with local_ray(home, cpus=1):
            assert ray.get(ray.remote(lambda: 7).remote()) == 7
    finally:
        ended.set()
        watcher.join()
    assert frozen, "nothing was planted"
    assert _processes(home) == []


def test_without_loopback_it_is_said_at_once(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this account may not make a network of its own")
    code = "import sys; from pathlib import Path; from platform_lib.home import open_home; from ray_jobs.session import local_ray\n"
    code += "with local_ray(open_home(Path(sys.argv[1])), 1): print('up')"
    command = ["unshare", "-n", sys.executable, "-c", code, str(tmp_path / "home")]
    started = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "loopback interface does not work" in done.stderr
    assert time.monotonic() - started < 30
    with_loopback = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command[2:]]
    done = subprocess.run(with_loopback, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "up\n"), done.stderr  # and no other network


_DIES = """
import os, signal, sys, time
from pathlib import Path
import ray
from platform_lib.home import open_home
from ray_jobs.session import local_ray

@ray.remote(max_retries=0)
def dies():
    os.kill(os.getpid(), signal.SIGKILL)

with local_ray(open_home(Path(sys.argv[1])), cpus=1):
    try:
        ray.get(dies.remote())
    except ray.exceptions.WorkerCrashedError:
        print("{}", flush=True)
    time.sleep(4)  # Ray tells of it a moment later
"""


def test_what_ray_says_of_a_dead_worker_is_no_part_of_a_commands_answer(home: Home) -> None:
    done = subprocess.run([sys.executable, "-c", _DIES, str(home.root)], capture_output=True, text=True, check=True)
    assert done.stdout == "{}\n"
    assert "worker died" in done.stderr
