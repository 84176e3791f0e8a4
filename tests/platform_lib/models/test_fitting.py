"""Fitting: it learns, it repeats itself, and being killed anywhere changes nothing."""

from __future__ import annotations

import dataclasses
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
from platform_lib.errors import ConfigError
from platform_lib.models import checkpoint
from platform_lib.models.augmentation import Augmentation
from platform_lib.models.compiling import missing_for
from platform_lib.models.divergence import DivergedError
from platform_lib.models.fitting import EpochRecord, Fit, FitConfig, SaveRules, Silent, StepRecord, seeded
from platform_lib.models.interface import PLAN_TIMES_S, PlannerInput
from platform_lib.models.planner import PlannerConfig
from platform_lib.models.planner_learner import PlannerLearner, Samples, normalisation_of

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
                "sample_id": [f"sample-{row}" for row in rows],
                "image": torch.from_numpy(chosen.image),
                "ego_history": torch.from_numpy(chosen.ego_history),
                "command": torch.from_numpy(chosen.command),
                "future": torch.from_numpy(self._split.future_m[rows]),
            }
        self.seek(epoch=self.epoch + 1, step=0)


def fit(
    folder: Path,
    *,
    identity: str = "step",
    rules: SaveRules | None = None,
    config: FitConfig = CONFIG,
    planner: PlannerConfig = PLANNER,
    train: Samples | None = None,
) -> Fit:
    train = samples(48, 0) if train is None else train
    seeded(config)
    learner = PlannerLearner(
        planner,
        config.augmentation,
        normalisation=normalisation_of(train.inputs.ego_history, train.future_m),
        val=samples(16, 1),
    )
    return Fit(learner, config, train=InMemory(train), folder=folder, identity=identity, rules=rules)


class Heard(Silent):
    """Keeps what it is told; may stop the fitting after an epoch or a step."""

    def __init__(self, *, after_epoch: int = 0, after_step: int = 0) -> None:
        self.epochs: list[EpochRecord] = []
        self.steps: list[StepRecord] = []
        self.after_epoch, self.after_step = after_epoch, after_step

    def stepped(self, record):
        self.steps.append(record)
        if record.step == self.after_step:
            raise StopError

    def epoch_ended(self, record, records):
        self.epochs.append(record)
        if record.epoch == self.after_epoch:
            raise StopError


class Printing(Silent):
    def epoch_ended(self, record, records):
        print(record.epoch, flush=True)  # noqa: T201 - read by the test that started this


class StopError(Exception):
    pass


def weights(done: Fit) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in done.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, torch.Tensor]:
    done = fit(tmp_path_factory.mktemp("whole"))
    done.run()
    return weights(done)


def test_it_learns_what_only_the_image_says(tmp_path):
    fitting = fit(tmp_path)
    before = fitting.learner.validate()["val_ade_m"]
    fitting.run()
    assert fitting.learner.validate()["val_ade_m"] < 0.6 * before
    assert [record.epoch for record in fitting.records] == [1, 2, 3, 4, 5, 6]
    assert fitting.records[-1].step == 36


def test_resuming_after_any_epoch_gives_the_same_weights(tmp_path, uninterrupted):
    for stop_after in (1, 2, 4):
        folder = tmp_path / str(stop_after)
        with pytest.raises(StopError):
            fit(folder).run(Heard(after_epoch=stop_after))
        resumed = fit(folder)
        assert len(resumed.records) == stop_after
        resumed.run()
        assert same(weights(resumed), uninterrupted)


def test_resuming_in_the_middle_of_an_epoch_gives_the_same_weights_and_curve(tmp_path, uninterrupted, monkeypatch):
    whole = Heard()
    fit(tmp_path / "whole").run(whole)
    saved, folder = [], tmp_path / "stopped"
    publish = checkpoint.save

    def stop(*place, **told):
        publish(*place, **told)
        saved.append((told["epochs"], told["steps"]))
        if saved[-1] in ((0, 1), (2, 4), (5, 5)):
            raise StopError

    monkeypatch.setattr(checkpoint, "save", stop)
    each_step = SaveRules(every_s=0.0)
    for _ in range(3):
        with pytest.raises(StopError):
            fit(folder, rules=each_step).run()
    resumed = fit(folder, rules=each_step)
    assert checkpoint.load_newest(folder, identity="step").epochs == len(resumed.records) == 5
    resumed.run()
    assert saved == [(epoch, step) for epoch in range(6) for step in range(6) if (epoch, step) != (0, 0)] + [(6, 0)]
    assert same(weights(resumed), uninterrupted)
    assert [timeless(record) for record in resumed.records] == [timeless(record) for record in whole.epochs]


def timeless(record: EpochRecord) -> dict[str, object]:
    return {name: value for name, value in record.line().items() if name != "seconds"}


def test_a_kill_at_any_step_costs_at_most_one_interval_and_every_later_step_is_the_same(tmp_path):
    whole = Heard()
    fit(tmp_path / "whole").run(whole)
    assert len({step.order_sha256 for step in whole.steps}) == len(whole.steps) == 36
    rules = SaveRules(every_s=1e9, every_steps=4, each_epoch=False)
    for at in (5, 24, 35):
        folder = tmp_path / str(at)
        with pytest.raises(StopError):
            fit(folder, rules=rules).run(Heard(after_step=at))
        resumed = fit(folder, rules=rules)
        # The checkpoint of the step at which it was stopped was not written yet.
        assert at - 4 <= resumed.step < at
        begun, heard = resumed.step, Heard()
        resumed.run(heard)
        assert heard.steps == whole.steps[begun:]
    assert len(list((tmp_path / "35").glob("epoch-*"))) == checkpoint.KEPT


def test_a_damaged_last_checkpoint_is_passed_over_with_a_word_and_the_result_is_the_same(tmp_path, uninterrupted):
    rules = SaveRules(every_s=1e9, every_steps=2, each_epoch=False)
    with pytest.raises(StopError):
        fit(tmp_path, rules=rules).run(Heard(after_step=11))
    newest = max(tmp_path.glob("epoch-*"))
    state = newest / "state.pt"
    state.write_bytes(state.read_bytes()[:-1] + b"x")

    class Told(Silent):
        passed_over: tuple[str, ...] = ()

        def resumed(self, step, passed_over):
            self.passed_over = passed_over

    told, resumed = Told(), fit(tmp_path, rules=rules)
    assert resumed.step == 8
    resumed.run(told)
    assert told.passed_over == (f"checkpoint {newest.name} was passed over: its bytes differ from its digest",)
    assert same(weights(resumed), uninterrupted)


def test_a_state_that_is_wanted_is_saved_after_the_step(tmp_path):
    class Leaving(Heard):
        def state_wanted(self):
            return self.steps[-1].step == 3

    with pytest.raises(StopError):
        fit(tmp_path, rules=SaveRules(every_s=1e9, each_epoch=False)).run(Leaving(after_step=4))
    assert fit(tmp_path).step == 3


@pytest.mark.parametrize("where", ["input", "weights"])
def test_a_loss_that_is_no_number_stops_with_the_step_its_samples_and_what_to_do(tmp_path, where):
    train = samples(48, 0)
    fitting = fit(tmp_path, train=train)
    if where == "input":
        train.inputs.ego_history[17, 3, 0] = np.nan
    else:
        with torch.no_grad():
            fitting.network.head[0].weight[0, 0] = torch.inf
    with pytest.raises(DivergedError, match=r"step [1-6]: the loss is") as caught:
        fitting.run()
    if where == "input":
        assert "1 samples hold values that are no numbers: sample-17" in caught.value.what
        assert "leave those samples out" in caught.value.remedy
    else:
        assert "every input is finite" in caught.value.what
        assert caught.value.what.count("sample-") == CONFIG.batch
        assert "learning rate" in caught.value.remedy
    assert list(tmp_path.glob("epoch-*")) == []


@pytest.mark.parametrize("parts", [2, 3])
def test_a_step_in_parts_gives_the_same_fit_to_single_precision(tmp_path, parts):
    # Without dropout and batch statistics, which look at a part and not at the whole batch.
    planner = PlannerConfig("ego_only", channels=(), squeeze=0, hidden=24, ego_hidden=12, dropout=0.0)
    whole, cut = Heard(), Heard()
    one = fit(tmp_path / "one", planner=planner)
    one.run(whole)
    other = fit(tmp_path / "other", planner=planner, config=dataclasses.replace(CONFIG, accumulate=parts))
    other.run(cut)
    assert [step.loss for step in cut.steps] == pytest.approx([step.loss for step in whole.steps], rel=1e-4)
    for name, value in weights(one).items():
        assert torch.allclose(value, weights(other)[name], rtol=0.0, atol=2e-3)


def test_bfloat16_fits_as_well_with_its_weights_in_float32(tmp_path):
    fitting = fit(tmp_path, config=dataclasses.replace(CONFIG, precision="bf16"))
    before = fitting.learner.validate()["val_ade_m"]
    fitting.run()
    assert fitting.learner.validate()["val_ade_m"] < 0.6 * before
    assert {value.dtype for value in fitting.network.parameters()} == {torch.float32}


def test_kernels_of_its_own_want_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="no C\\+\\+ compiler 'no-such-compiler'") as caught:
        fit(tmp_path, config=dataclasses.replace(CONFIG, compiled=True))
    assert "compiled=False" in str(caught.value.remedy)


@pytest.mark.slow
@pytest.mark.soak  # a minute of a compiler
@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.skipif(missing_for("cpu") is not None, reason="no C++ compiler")
@pytest.mark.parametrize("kind", ["camera", "ego_only"])
def test_kernels_of_its_own_give_the_same_losses_and_resume_to_the_same_bits(tmp_path, kind):
    # Without dropout, whose masks compiled code draws in another way.
    planner = dataclasses.replace(PLANNER, dropout=0.0)
    if kind == "ego_only":
        planner = dataclasses.replace(planner, kind=kind, channels=(), squeeze=0)
    config = dataclasses.replace(CONFIG, compiled=True)
    plain, made = Heard(), Heard()
    fit(tmp_path / "plain", planner=planner).run(plain)
    whole = fit(tmp_path / "whole", planner=planner, config=config)
    whole.run(made)
    one, other = [step.loss for step in plain.steps], [step.loss for step in made.steps]
    assert other[:3] == pytest.approx(one[:3], rel=1e-3)
    assert other == pytest.approx(one, rel=0.05), "what rounds otherwise learns otherwise, step by step"
    assert other != one, "the kernels are others"
    with pytest.raises(StopError):
        fit(tmp_path / "cut", planner=planner, config=config).run(Heard(after_epoch=2))
    resumed = fit(tmp_path / "cut", planner=planner, config=config)
    resumed.run()
    assert same(weights(resumed), weights(whole))
    assert set(weights(whole)) == set(weights(fit(tmp_path / "none", planner=planner)))


def test_a_checkpoint_of_other_data_or_code_is_not_resumed(tmp_path):
    done = fit(tmp_path, identity="one")
    done.run()
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
    script += (
        "test_fitting.fit(Path(sys.argv[1]), rules=test_fitting.SaveRules(every_s=0.02)).run(test_fitting.Printing())"
    )
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
    resumed.run()
    assert same(weights(resumed), uninterrupted)
