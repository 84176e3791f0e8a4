"""Several processes that fit one network: whole or in pieces, killed or not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[3]

# One process of a gang; torch's own process group, without Ray.
RANK = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1] + "/tests/builders")
import torch
from torch import distributed
from slow_training import two
from platform_lib.datasets.shuffle import Part
from platform_lib.models.fitting import Fit, SaveRules, Silent, batch_of_one_process, seeded
from platform_lib.models.gang import gang
folder, strategy, stop, slow = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
distributed.init_process_group("gloo")
rank = distributed.get_rank()
config = two(strategy)
seeded(config.fit)
learner = config.planner.learner(None)
part = Part(rank, distributed.get_world_size())
train = config.source.batches(batch=batch_of_one_process(config.fit, part.count), seed=config.fit.seed, part=part)
class Heard(Silent):
    steps, slow = [], []
    def stepped(self, record):
        self.steps.append([record.step, record.loss])
        if record.step == stop:
            raise SystemExit(3)
    def held_up(self, found):
        self.slow += [item.rank for item in found]
if rank == slow:
    prepare = learner.prepare
    def late(samples, generator):
        time.sleep(0.1)
        return prepare(samples, generator)
    learner.prepare = late
fit = Fit(learner, config.fit, train=train, folder=folder / "ck", identity="x", together=gang(strategy),
          rules=SaveRules(every_s=1e9, every_steps=5, each_epoch=False))
heard, begun = Heard(), fit.step
fit.run(heard)
if rank == 0:
    torch.save(learner.weights()["state"], folder / "weights.pt")
    told = {"begun": begun, "steps": heard.steps, "slow": heard.slow, "val": fit.records[-1].line()["val_error_m"]}
    (folder / "told.json").write_text(json.dumps(told))
distributed.barrier()
distributed.destroy_process_group()
os._exit(0)  # torch's threads have met the interpreter's end while they still ran, and aborted it
"""


def fit(folder: Path, strategy: str, *, size: int = 2, stop: int = 0, slow: int = -1) -> dict[str, object] | None:
    """Fit in `size` processes; None where they were stopped at a step."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    ranks = []
    for rank in range(size):
        place = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-W", "ignore", "-c", RANK, str(ROOT), str(folder), strategy, str(stop), str(slow)]
        ranks.append(
            subprocess.Popen(command, env={**os.environ, **place}, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        )
    ended = [rank.communicate(timeout=1100) for rank in ranks]
    if stop:
        assert {rank.returncode for rank in ranks} <= {3, 1, -6}
        return None
    assert [rank.returncode for rank in ranks] == [0] * size, ended[0][1] + ended[-1][1]
    found: dict[str, object] = json.loads((folder / "told.json").read_text())
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "weights.pt", weights_only=True)
    return found


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=pytest.mark.soak), "fsdp"])
def test_two_processes_stopped_in_the_middle_end_as_if_undisturbed(tmp_path, strategy):
    whole = fit(tmp_path / "whole", strategy)
    fit(tmp_path / "cut", strategy, stop=13)
    resumed = fit(tmp_path / "cut", strategy, slow=1 if strategy == "ddp" else -1)
    assert resumed["begun"] == 10
    assert resumed["steps"] == whole["steps"][10:]
    assert all(
        torch.equal(value, weights(tmp_path / "cut")[name]) for name, value in weights(tmp_path / "whole").items()
    )
    if strategy == "ddp":
        assert 1 in resumed["slow"]


@pytest.mark.soak
def test_pieces_give_what_whole_copies_give(tmp_path):
    """Dropout draws the same in each process, so both strategies do the same arithmetic up to the order of sums."""
    ddp, fsdp = fit(tmp_path / "ddp", "ddp"), fit(tmp_path / "fsdp", "fsdp")
    assert [loss for _, loss in fsdp["steps"]] == pytest.approx([loss for _, loss in ddp["steps"]], rel=1e-3)
    assert fsdp["val"] == pytest.approx(ddp["val"], rel=1e-2)
