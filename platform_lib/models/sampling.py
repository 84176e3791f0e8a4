"""Which samples an epoch trains on, as a pure function of the epoch, the seed and a table of the samples.

Three hooks, each of which does nothing until it is asked: a curriculum (begin with what is easy), balance (rare kinds of
scenes as often as common ones) and hard examples (what the model got wrong comes again). Without any of them an epoch is
each sample once, in a random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ConfigError
from platform_lib.models.interface import COMMANDS, PLAN_TIMES_S, Float

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampleTable:
    """What sampling knows of N samples, in the split's order.

    Attributes:
        classes: (N, K) 0 or 1: the kinds of scenes each belongs to.
        difficulty: (N,) how hard a sample is before anything was learnt; higher is harder.
        error: (N,) the model's last error on it; NaN where it was not trained on yet.

    Raises:
        ConfigError: Lengths differ.
    """

    classes: NDArray[np.uint8]
    difficulty: Doubles
    error: Doubles

    def __post_init__(self) -> None:
        if not len(self.classes) == len(self.difficulty) == len(self.error):
            raise ConfigError("columns of different lengths", where="SampleTable")

    def __len__(self) -> int:
        return len(self.difficulty)

    def with_error(self, error: Doubles) -> SampleTable:
        """Return the table with what was learnt of the samples since."""
        return replace(self, error=error)


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How samples are chosen; the defaults choose each once.

    Attributes:
        balance: 0 takes the split as it is, 1 takes each class as often as any other; between them a compromise. A sample
            of several classes counts as its rarest.
        hard_share: Share of the samples, those with the largest errors, that come more often.
        hard_boost: How many times as often.
        curriculum_epochs: In so many epochs the harder samples come in; 0 has all from the start.
        curriculum_start: Share of the samples, the easiest, of the first epoch.

    Raises:
        ConfigError: A share lies outside 0..1, or a number is negative.
    """

    balance: float = 0.0
    hard_share: float = 0.0
    hard_boost: float = 1.0
    curriculum_epochs: int = 0
    curriculum_start: float = 0.3

    def __post_init__(self) -> None:
        shares = (self.balance, self.hard_share, self.curriculum_start)
        if min(shares) < 0 or max(shares) > 1 or self.hard_boost < 1 or self.curriculum_epochs < 0:
            raise ConfigError(
                f"balance {self.balance}, hard {self.hard_share} x {self.hard_boost}, curriculum from "
                f"{self.curriculum_start} in {self.curriculum_epochs} epochs",
                where="SamplingConfig",
                remedy="take shares from 0 to 1, a boost of 1 or more, and no negative number of epochs",
            )


def sample_table(ego_history: Float, command: Rows, future_m: Float, tags: NDArray[np.uint8]) -> SampleTable:
    """Describe N samples.

    Args:
        ego_history: (N, 10, 3).
        command: (N,) indices.
        future_m: (N, 6, 2).
        tags: (N, T) what happens in them; see `platform_lib.models.tags`. Commands are classes too.

    Returns:
        The table; a sample is as difficult as its path's end lies from that of constant velocity, in metres.
    """
    straight = ego_history[:, -1, 0].astype(np.float64) * float(PLAN_TIMES_S[-1])
    end = future_m[:, -1].astype(np.float64)
    commands = np.eye(len(COMMANDS), dtype=np.uint8)[command]
    return SampleTable(
        classes=np.concatenate([tags, commands], axis=1),
        difficulty=np.hypot(end[:, 0] - straight, end[:, 1]),
        error=np.full(len(command), np.nan),
    )


def weights(table: SampleTable, config: SamplingConfig, epoch: int) -> Doubles:
    """Return how often each of N samples is wanted in an epoch, against the others; 0 is not at all."""
    found = np.ones(len(table))
    if config.balance:
        counts = table.classes.sum(axis=0, dtype=np.float64)
        each = np.where(table.classes > 0, counts, np.inf).min(axis=1)
        found *= np.where(np.isfinite(each), each, len(table)) ** -config.balance
    known = ~np.isnan(table.error)
    if config.hard_share and known.any():
        limit = np.quantile(table.error[known], 1 - config.hard_share)
        found *= np.where(known & (table.error > limit), config.hard_boost, 1.0)
    if epoch < config.curriculum_epochs:
        share = config.curriculum_start + (1 - config.curriculum_start) * epoch / config.curriculum_epochs
        easy = np.argsort(np.argsort(table.difficulty, kind="stable"), kind="stable")
        found *= easy < max(1, round(share * len(table)))
    return found


def epoch_rows(table: SampleTable, config: SamplingConfig, *, epoch: int, seed: int) -> Rows:
    """Return the samples of an epoch in their order: N rows, of which some come more than once and some not at all.

    Each sample comes as often as its weight says, rounded up or down (systematic resampling), so that equal weights take
    each exactly once.
    """
    wanted = weights(table, config, epoch)
    generator = np.random.default_rng(np.random.SeedSequence([seed, epoch, 0x5A]))
    ends = np.cumsum(wanted) * (len(table) / wanted.sum())
    # Half a step's margin: rounding of the sum must not take one sample twice in place of its neighbour.
    start = 0.5 if np.ptp(wanted) == 0 else generator.random()
    rows = np.searchsorted(ends, np.arange(len(table)) + start, side="right")
    return generator.permutation(np.minimum(rows, len(table) - 1)).astype(np.int64)


def class_counts(table: SampleTable, rows: Rows, names: Sequence[str]) -> dict[str, int]:
    """Return how many of the rows belong to each class, by its name; for a run's record."""
    counts = table.classes[rows].sum(axis=0)
    return {name: int(count) for name, count in zip(names, counts, strict=True)}
