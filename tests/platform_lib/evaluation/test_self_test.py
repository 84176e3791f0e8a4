"""The scorer's own test: it passes on the real scorer, and any planted mistake makes it fail."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.errors import ContractError
from platform_lib.evaluation import self_test
from platform_lib.evaluation.findings import self_test_findings
from platform_lib.evaluation.open_loop import score_frames


def test_the_real_scorer_passes_and_every_planted_one_is_caught():
    verdict = self_test.run_self_test()
    assert verdict.passed
    assert not verdict.failed
    assert not verdict.missed
    assert len(verdict.caught) >= 8
    assert f"passed {len(verdict.cases)} cases" in self_test_findings(verdict)[0]


def test_the_verdict_is_repeatable_and_its_digest_follows_it():
    good = self_test.run_self_test()
    assert good.sha256 == self_test.run_self_test().sha256
    assert good.sha256 != self_test.run_self_test(lambda plan, frames: score_frames(plan * 1.01, frames)).sha256


@pytest.mark.parametrize(
    "wrong",
    [
        lambda plan, frames: score_frames(plan * [1.0, -1.0], frames) | {"ade_m": np.zeros(len(frames))},
        lambda plan, frames: {**score_frames(plan, frames), "fde_m": score_frames(plan, frames)["ade_m"]},
        lambda plan, frames: {**score_frames(plan, frames), "collision_rate": np.zeros(len(frames))},
        lambda plan, frames: {**score_frames(plan, frames), "collision_rate": np.ones(len(frames))},
        lambda plan, frames: {name: value for name, value in score_frames(plan, frames).items() if name != "miss_rate"},
    ],
    ids=["no error ever", "end taken for mean", "never a collision", "always a collision", "a score is missing"],
)
def test_a_wrong_scorer_fails(wrong):
    verdict = self_test.run_self_test(wrong)
    assert not verdict.passed
    assert verdict.failed
    assert "FAILED" in self_test_findings(verdict)[0]


def test_a_scorer_that_refuses_everything_fails():
    def refuse(plan, frames):
        raise ContractError("no")

    assert len(self_test.run_self_test(refuse).failed) > 10


def test_a_planted_scorer_that_no_case_catches_spoils_the_verdict(monkeypatch):
    monkeypatch.setattr(self_test, "_wrong_scorers", lambda: {"harmless": score_frames})
    verdict = self_test.run_self_test()
    assert verdict.missed == ("harmless",)
    assert not verdict.passed
