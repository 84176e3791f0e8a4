"""`make bench ONLY=training`: Ray Train against a plain PyTorch loop on the same work, resuming, and 1, 2, 4 processes.

Of a run, the wall between the lines of its curve is taken, the first epochs left out: the steady state, with everything that a run does in
it (validation, checkpoints, reports, the steps' journal). What comes before its first step is the start-up. The plain loop has the same
network, loader, augmentation, loss, optimiser and validation, in a process of its own, and nothing else.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASKED_OVERHEAD = 0.08
_SHORT, _LONG = 2, 6
_TIMES = 90
_FRAMES = 30 * _TIMES
"""For training: as many as the demo has. Of a few steps an epoch, what comes once an epoch would be most."""

_PLAIN = """
import sys, time
from pathlib import Path
import numpy as np, torch
from torch import nn
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.models.fitting import seeded
from ray_jobs.planner_run import PlannerRun
from ray_jobs.training_worker import training_loader
from tests.bench.training import bench_recipe
config = bench_recipe(int(sys.argv[2]))
with DrivingDataset.open(Path(sys.argv[1])) as dataset:
    seeded(config.fit)
    loader = training_loader(dataset, config)
    learner = PlannerRun(config, config.planner, dataset, loader)
    network, generator = learner.network, np.random.default_rng(1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    walls = []
    for epoch in range(config.fit.epochs):
        begun = time.perf_counter()
        network.train()
        for samples in loader:
            loss = learner.loss(network, learner.prepare(samples, generator))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            float(loss.detach())
        learner.validate()
        walls.append(time.perf_counter() - begun)
steady = walls[int(sys.argv[3]):]
print(sum(steady) / len(steady) / len(loader))
"""

_RUN = """
import json, sys, time
from pathlib import Path
from platform_lib.home import open_home
from ray_jobs.train import train
from tests.bench.training import bench_recipe
begun = time.perf_counter()
out = train(open_home(Path(sys.argv[1])), bench_recipe(int(sys.argv[2]), int(sys.argv[4])), dataset="bench", run=sys.argv[3], force=True)
print(json.dumps({"wall_s": time.perf_counter() - begun, "steps": out.manifest.metrics["steps"]}))
"""


@dataclass(frozen=True, slots=True)
class Training:
    """What was measured, in seconds.

    Attributes:
        plain_step_s: A step of the plain loop, its share of validation in it.
        ours_step_s: A step through Ray Train, everything in it.
        start_s: From the command to the first step.
        resume_s: From kill -9 to the first step after it.
        by_processes: Training processes -> samples a second.
    """

    plain_step_s: float
    ours_step_s: float
    start_s: float
    resume_s: float | None
    by_processes: dict[int, float]

    @property
    def overhead(self) -> float:
        """How much longer a step takes than in the plain loop."""
        return self.ours_step_s / self.plain_step_s - 1


def bench_recipe(epochs: int, processes: int = 1) -> object:
    """The demo's camera recipe, shorter, on one core a process."""
    from ray_jobs.recipes import recipe_named
    from ray_jobs.recipes.config import Processes

    made = recipe_named("planner_tiny")
    fit = dataclasses.replace(made.fit, epochs=epochs, threads=1)
    return dataclasses.replace(made, fit=fit, processes=Processes(count=processes))


def measure_training(tell: Callable[[str], None], *, rounds: int, processes: tuple[int, ...] = (1, 2, 4)) -> Training:
    """Make a dataset of simulated frames, and measure."""
    from platform_lib.home import open_home

    sys.path.insert(0, str(ROOT / "tests" / "ray_jobs"))
    from conftest import make_dataset

    with tempfile.TemporaryDirectory(prefix="training-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        home = open_home(Path(folder) / "home")
        home.datasets.mkdir(exist_ok=True)
        make_dataset(home.datasets / "bench", times=_TIMES)
        plain, ours, starts = list[float](), list[float](), list[float]()
        for _ in range(rounds):
            plain.append(float(_program(_PLAIN, str(home.datasets / "bench"), str(_LONG), str(_SHORT))))
            step_s, steps, start_s = _run(home.root, 1)
            ours.append(step_s)
            starts.append(start_s)
            tell(f"training: plain loop {1e3 * plain[-1]:.1f} ms a step, through Ray Train {1e3 * step_s:.1f}")
        by_processes = {1: _FRAMES / (steps / _LONG) / statistics.median(ours)}
        for count in processes:
            if count > 1:
                step_s, steps, _ = _run(home.root, count)
                by_processes[count] = _FRAMES / (steps / _LONG) / step_s
                tell(f"training: {count} processes, {1e3 * step_s:.1f} ms a step")
        middle = statistics.median
        return Training(middle(plain), middle(ours), middle(starts), _resume_s(home.root), by_processes)


def training_table(found: Training) -> str:
    """Return the table."""
    scaling = ", ".join(
        f"{count}: {rate:.0f} samples/s ({rate / found.by_processes[1] / count:.0%})"
        for count, rate in found.by_processes.items()
    )
    resume = "not measured: the run ended before it was killed" if found.resume_s is None else f"{found.resume_s:.1f} s"
    return "\n".join(
        (
            "| training | asked | found |",
            "|---|---|---|",
            f"| Ray Train, a step at steady state, beyond a plain loop's | {ASKED_OVERHEAD:.0%} | {found.overhead:.1%} "
            f"({1e3 * found.ours_step_s:.1f} and {1e3 * found.plain_step_s:.1f} ms) |",
            f"| start-up: Ray, PostgreSQL, MLflow, data | | {found.start_s:.1f} s |",
            f"| resume: kill -9 of the worker to the next step | | {resume} |",
            f"| processes, share of perfect scaling ({os.cpu_count()} cores) | | {scaling} |",
        )
    )


def _program(text: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", text, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip().splitlines()[-1]


def _run(home: Path, processes: int) -> tuple[float, int, float]:
    """Train once; return the wall of a step at steady state, how many steps there were, and the start-up, in seconds."""
    run = home / "runs" / "bench"
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-W", "ignore", "-c", _RUN, str(home), str(_LONG), "bench", str(processes)]
    begun, first, seen = time.perf_counter(), 0.0, dict[int, float]()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as at_work:
        while at_work.poll() is None:
            now = time.perf_counter()
            first = first or (now if _lines(run / "steps.jsonl") else 0.0)
            seen.setdefault(_lines(run / "curve.jsonl"), now)
            time.sleep(0.005)
    if at_work.returncode:
        raise subprocess.CalledProcessError(at_work.returncode, command[:4])
    steps = _lines(run / "steps.jsonl")
    begin, end = (min(seen[count] for count in seen if count >= epochs) for epochs in (_SHORT, _LONG))
    return (end - begin) / (steps * (_LONG - _SHORT) / _LONG), steps, first - begun


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _resume_s(home: Path) -> float | None:
    """Kill the worker of a run that is at work, and wait for the first step after it."""
    import psutil

    steps = home / "runs" / "killed" / "steps.jsonl"
    command = [sys.executable, "-W", "ignore", "-c", _RUN, str(home), "200", "killed", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as run:
        try:
            while run.poll() is None and (not steps.exists() or steps.read_bytes().count(b"\n") < 10):
                time.sleep(0.01)
            below = psutil.Process(run.pid).children(recursive=True)
            workers = [item for item in below if item.cmdline()[:1] and "RayTrainWorker" in item.cmdline()[0]]
            if not workers:
                return None
            workers[0].kill()
            killed = time.perf_counter()
            before = steps.stat().st_mtime_ns
            while run.poll() is None and steps.stat().st_mtime_ns == before:
                time.sleep(0.005)
            return time.perf_counter() - killed if run.poll() is None else None
        finally:
            run.terminate()
            run.wait(60)
