"""A history cut into whole weeks: what of each week the next one's requests depend on. Pure.

A week holds every hour of every weekday once, so that a statistic of a week needs no model of the day or of the weekend. Weeks end
where the history ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cost.rightsize.model import DAY_S, DAYS_A_WEEK, MIB, WEEK_S, Floats, Resource, Samples, Usage
from cost.rightsize.vpa import OOM_LEAST_BYTES, OOM_RATIO

LEAST_WINDOWS = 100
"""Measured windows that a week needs: fewer do not show one window in a hundred (KRR, too, asks for 100 points)."""
LEAST = {"cpu": 0.001, "memory": MIB}
"""Usage below a millicore and a MiB counts as that much: logarithms of nothing say nothing."""
_TREND_Z = 1.96
"""A trend counts where the seasonal Kendall test finds it at 5 %, two-sided."""


@dataclass(frozen=True, slots=True, eq=False)
class Weeks:
    """Logarithms of what counts of each week.

    Attributes:
        weekly: (weeks,) of CPU the level that a share of the windows passes, of memory the highest; NaN where too little was measured.
        daily: (weeks, 7) the same of each day.
        measured: Share of all windows that were measured.
    """

    weekly: Floats
    daily: Floats
    measured: float

    @property
    def whole(self) -> int:
        """How many of the last weeks, without a gap, were measured."""
        held = np.isfinite(self.weekly)[::-1]
        return int(held.argmin()) if not held.all() else len(held)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What some weeks say about the one that follows; all in logarithms.

    Attributes:
        mean: Mean of the weeks, moved along their trend.
        last: The last week, moved likewise.
        highest: The highest, moved likewise.
        spread: Standard deviation of the weeks around their trend.
        daily_spread: Standard deviation of equal weekdays around theirs: from more values, and so less by chance.
        trend: Growth a week, where there is one that is more than chance; never negative.
    """

    mean: float
    last: float
    highest: float
    spread: float
    daily_spread: float
    trend: float


def weeks_of(usage: Usage, resource: Resource, *, share: float, limit_bytes: float | None = None) -> Weeks:
    """Cut a history.

    Args:
        usage: The history.
        resource: Of which.
        share: Of CPU: windows that may lie above the level.
        limit_bytes: The memory limit, at which a container that was killed needed more than was seen.
    """
    samples = usage.cpu_cores if resource == "cpu" else usage.memory_bytes
    share = share if resource == "cpu" else 0.0
    a_day, a_week = round(DAY_S / usage.step_s), round(WEEK_S / usage.step_s)
    count = len(samples) // a_week
    by_day = samples[len(samples) - count * a_week :].reshape(count, DAYS_A_WEEK, a_day)
    least = LEAST[resource]
    weekly = np.full(count, np.nan)
    daily = np.full((count, DAYS_A_WEEK), np.nan)
    for week in range(count):
        whole = np.isfinite(by_day[week])
        if whole.sum() < LEAST_WINDOWS:
            continue
        weekly[week] = math.log(max(level(by_day[week], share), least))
        for day in np.flatnonzero(whole.any(axis=1)).tolist():
            daily[week, day] = math.log(max(level(by_day[week, day], share), least))
    if resource == "memory":
        _raise_killed(usage, weekly, limit_bytes)
    return Weeks(weekly, daily, float(np.isfinite(samples).mean()) if len(samples) else 0.0)


def level(samples: Samples, share: float) -> float:
    """Return the lowest measured value that at most this share of the measured windows passes."""
    held = np.sort(samples[np.isfinite(samples)])
    return float(held[len(held) - 1 - math.floor(share * len(held) + 1e-9)])


def _raise_killed(usage: Usage, weekly: Floats, limit_bytes: float | None) -> None:
    """A container that is killed shows its limit, never what it needed: more, by the rule of VPA."""
    end_s = usage.start_utc_s + len(usage.memory_bytes) * usage.step_s
    for time_s in usage.oom_kills_utc_s:
        week = len(weekly) - 1 - math.floor((end_s - 1e-6 - time_s) / WEEK_S)
        if 0 <= week < len(weekly) and math.isfinite(weekly[week]):
            seen = max(math.exp(weekly[week]), limit_bytes or 0.0)
            weekly[week] = math.log(max(seen * OOM_RATIO, seen + OOM_LEAST_BYTES))


def outlook(weeks: Weeks, first: int, stop: int) -> Outlook:
    """Return what the weeks `first` to `stop` (exclusive, all measured, at least two) say about week `stop`."""
    weekly, daily = weeks.weekly[first:stop], weeks.daily[first:stop]
    trend = _trend(daily)
    moved = weekly + trend * (stop - np.arange(first, stop))
    spread = float(moved.std(ddof=1))
    return Outlook(
        float(moved.mean()), float(moved[-1]), float(moved.max()), spread, _daily_spread(daily, trend), trend
    )


def _daily_spread(daily: Floats, trend: float) -> float:
    moved = daily - trend * np.arange(len(daily))[:, None]
    held = np.isfinite(moved)
    counts = held.sum(axis=0)
    means = np.where(held, moved, 0.0).sum(axis=0) / np.maximum(counts, 1)
    squares = float((np.where(held, moved - means, 0.0) ** 2).sum())
    return math.sqrt(squares / max(int(np.maximum(counts - 1, 0).sum()), 1))


def _trend(daily: Floats) -> float:
    """Return growth a week by the seasonal Kendall test and slope: only equal weekdays are compared with each other.

    Source: Hirsch, Slack, Smith, "Techniques of trend analysis for monthly water quality data", Water Resources Research 18,
    1982: S summed over seasons, variance n(n-1)(2n+5)/18 each, slope the median of all pairs' slopes.
    """
    score, variance, slopes = 0.0, 0.0, []
    for day in range(daily.shape[1]):
        values = daily[:, day]
        at = np.flatnonzero(np.isfinite(values))
        n = len(at)
        if n < 2:
            continue
        early, late = np.triu_indices(n, 1)
        steps = values[at[late]] - values[at[early]]
        slopes.append(steps / (at[late] - at[early]))
        score += float(np.sign(steps).sum())
        variance += n * (n - 1) * (2 * n + 5) / 18
    if variance == 0 or (score - 1) / math.sqrt(variance) < _TREND_Z:
        return 0.0
    return max(float(np.median(np.concatenate(slopes))), 0.0)
