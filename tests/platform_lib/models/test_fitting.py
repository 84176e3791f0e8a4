"""Fitting: it learns, it repeats itself, and being killed anywhere changes nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from platform_lib.datasets.position import Position
from platform_lib.models import checkpoint
from platform_lib.models.augmentation import Augmentation
from platform_lib.models.fitting import Fit, FitConfig, Samples, normalisation_of
from platform_lib.models.interface import PLAN_TIMES_S, PlannerInput
from platform_lib.models.planner import PlannerConfig

PLANNER = PlannerConfig("camera", channels=(4, 6, 8, 8), squeeze=4, hidden=24, ego_hidden=12, dropout=0.1)
CONFIG = FitConfig(
    epochs=6,
    batch=8,
    learning_rate=5e-3,
    weight_decay=0.01,
    warmup_share=0.1,
    seed=3,
    threads=1,
    augmentation=Augmentation(brightness=0.2, noise=0.01, mirror=0.5, turn_std_rad=0.02, focal_px=150.0),
)


def samples(count: int, seed: int) -> Samples:
    """Frames whose bright bar, left or right, says where the path bends."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 60, (count, 3, 64, 192), dtype=np.uint8)
    side = generator.choice([-1.0, 1.0], count)
    for row, sign in enumerate(side):
        start = 30 if sign > 0 else 130
        image[row, :, 40:70, start : start + 30] = 250
    history = np.zeros((count, 10, 3), dtype=np.float32)
    history[:, :, 0] = generator.uniform(5, 12, (count, 1))
    future = np.zeros((count, 6, 2), dtype=np.float32)
    future[:, :, 0] = history[:, -1, :1] * PLAN_TIMES_S
    future[:, :, 1] = side[:, None] * 0.4 * PLAN_TIMES_S**2
    return Samples(PlannerInput(image, history, np.zeros(count, dtype=np.int64)), future)


class InMemory(Position):
    """Batches of samples that were never on a disk, in an order of their own each epoch."""

    def __init__(self, split: Samples) -> None:
        super().__init__(steps=-(-len(split) // CONFIG.batch), identity={})
        self._split = split

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        order = np.random.default_rng(self.epoch).permutation(len(self._split))
        while self._step < len(self):
            rows = order[self._step * CONFIG.batch : (self._step + 1) * CONFIG.batch]
            chosen = self._split.inputs.take(rows)
            self._step += 1
            yield {
                "image": torch.from_numpy(chosen.image),
                "ego_history": torch.from_numpy(chosen.ego_history),
                "command": torch.from_numpy(chosen.command),
                "future": torch.from_numpy(self._split.future_m[rows]),
            }
        self.seek(epoch=self.epoch + 1, step=0)


def fit(folder: Path, *, identity: str = "step", save_every_s: float = 30.0) -> Fit:
    train = samples(48, 0)
    return Fit(
        PLANNER,
        CONFIG,
        train=InMemory(train),
        normalisation=normalisation_of(train.inputs.ego_history, train.future_m),
        val=samples(16, 1),
        folder=folder,
        identity=identity,
        save_every_s=save_every_s,
    )


def weights(done: Fit) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in done.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, torch.Tensor]:
    done = fit(tmp_path_factory.mktemp("whole"))
    done.run(lambda record: None)
    return weights(done)


def test_it_learns_what_only_the_image_says(tmp_path):
    fitting = fit(tmp_path)
    before = fitting.val_ade_m()
    fitting.run(lambda record: None)
    assert fitting.val_ade_m() < 0.6 * before
    assert [record.epoch for record in fitting.records] == [1, 2, 3, 4, 5, 6]
    assert fitting.records[-1].step == 36


def test_resuming_after_any_epoch_gives_the_same_weights(tmp_path, uninterrupted):
    class StopError(Exception):
        pass

    for stop_after in (1, 2, 4):

        def stop(record, last=stop_after):
            if record.epoch == last:
                raise StopError

        folder = tmp_path / str(stop_after)
        with pytest.raises(StopError):
            fit(folder).run(stop)
        resumed = fit(folder)
        assert len(resumed.records) == stop_after
        resumed.run(lambda record: None)
        assert same(weights(resumed), uninterrupted)


def test_resuming_in_the_middle_of_an_epoch_gives_the_same_weights_and_curve(tmp_path, uninterrupted, monkeypatch):
    class StopError(Exception):
        pass

    curve = []
    fit(tmp_path / "whole").run(curve.append)
    saved, folder = [], tmp_path / "stopped"
    publish = checkpoint.save

    def stop(*place, **told):
        publish(*place, **told)
        saved.append((told["epochs"], told["steps"]))
        if saved[-1] in ((0, 1), (2, 4), (5, 5)):
            raise StopError

    monkeypatch.setattr(checkpoint, "save", stop)
    for _ in range(3):
        with pytest.raises(StopError):
            fit(folder, save_every_s=0.0).run(lambda record: None)
    resumed = fit(folder, save_every_s=0.0)
    assert checkpoint.load_newest(folder, identity="step").epochs == len(resumed.records) == 5
    resumed.run(lambda record: None)
    assert saved == [(epoch, step) for epoch in range(6) for step in range(6) if (epoch, step) != (0, 0)] + [(6, 0)]
    assert same(weights(resumed), uninterrupted)
    told = [(record.epoch, record.step, record.train_loss, record.val_ade_m) for record in resumed.records]
    assert told == [(record.epoch, record.step, record.train_loss, record.val_ade_m) for record in curve]


def test_a_checkpoint_of_other_data_or_code_is_not_resumed(tmp_path):
    done = fit(tmp_path, identity="one")
    done.run(lambda record: None)
    assert fit(tmp_path, identity="two").records == []


def test_normalisation_is_of_the_training_split_and_never_divides_by_zero():
    given = samples(20, 0)
    found = normalisation_of(given.inputs.ego_history, given.future_m)
    assert found.ego_mean[0] == pytest.approx(float(given.inputs.ego_history[:, :, 0].mean()), abs=1e-4)
    assert min(found.ego_std) >= 1e-3
    assert min(min(pair) for pair in found.residual_std_m) >= 0.05


@pytest.mark.slow
def test_kill_9_at_any_moment_then_a_rerun_gives_the_same_weights(tmp_path, uninterrupted):
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_fitting; from pathlib import Path; "
    script += "test_fitting.fit(Path(sys.argv[1]), save_every_s=0.02).run(lambda r: print(r.epoch, flush=True))"
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)]
    generator = np.random.default_rng(8)
    for wait_for in (1, 2, 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= wait_for:
                    break
            time.sleep(float(generator.uniform(0.0, 0.15)))
            process.send_signal(signal.SIGKILL)
    resumed = fit(tmp_path)
    assert len(resumed.records) >= 3
    resumed.run(lambda record: None)
    assert same(weights(resumed), uninterrupted)
