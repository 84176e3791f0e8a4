"""How far above its outlook a week comes, learnt from held-out weeks with a correction for how few they are. Pure.

Each container's last week is held out and predicted from the weeks before it, exactly as the next one will be from those that end
today. Were containers exchangeable, the next week's score would be as likely to have any rank among the held-out ones as any other; so
the k-th smallest of n scores, k = ceil((n + 1)(1 - chance)), is passed with at most that chance, whatever their distribution.

Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (split conformal prediction); by groups:
Vovk, Lindsay, Nouretdinov, Gammerman, "Mondrian confidence machine", 2003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cost.rightsize.weeks import Outlook, Weeks, outlook

TRAINED_ON, LEAST_TRAINED_ON = 8, 2
"""Weeks an outlook is made from: at most, at least."""
LEAST_WEEKS = LEAST_TRAINED_ON + 1
"""Weeks of history a container needs: one more, to be held out."""
_MOST_GROUPS = 6

Level = Literal["mean", "last", "highest"]
_LEVELS: tuple[Level, ...] = ("mean", "last", "highest")
Unit = Literal["one", "spread", "daily_spread"]
_UNITS: tuple[Unit, ...] = ("one", "spread", "daily_spread")
_LEAST_SPREAD = 0.05
"""Added to a container's own spread: that of a few quiet weeks may be next to nothing by chance."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """From where a score is counted, and in what unit."""

    level: Level
    unit: Unit

    def base(self, seen: Outlook) -> float:
        """Return the outlook's level."""
        return float(getattr(seen, self.level))

    def size(self, seen: Outlook) -> float:
        """Return the unit of its scores, a difference of logarithms."""
        return 1.0 if self.unit == "one" else float(getattr(seen, self.unit)) + _LEAST_SPREAD


@dataclass(frozen=True, slots=True)
class Held:
    """One held-out week.

    Attributes:
        seen: What the weeks before it said.
        came: What it was, a logarithm.
        back: How many weeks before the last it lies.
    """

    seen: Outlook
    came: float
    back: int


@dataclass(frozen=True, slots=True)
class Group:
    """Containers of like spread, and how far their weeks come above their outlook.

    Attributes:
        most_spread: Spread of the last of them.
        scheme: How scores are counted.
        margin: The calibrated quantile of the scores.
        scores: From how many it was found.
    """

    most_spread: float
    scheme: Scheme
    margin: float
    scores: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the held-out weeks of a fleet say.

    Attributes:
        chance: With which a week may come above its bound.
        groups: By spread, rising; the last one takes every greater spread.
        weeks_each: Held-out weeks used of each container; more than one are not independent.
    """

    chance: float
    groups: tuple[Group, ...]
    weeks_each: int

    def bound(self, seen: Outlook) -> tuple[float, Group]:
        """Return the next week's bound, a logarithm, and the group it is from."""
        group = next((item for item in self.groups if seen.daily_spread <= item.most_spread), self.groups[-1])
        return group.scheme.base(seen) + group.margin * group.scheme.size(seen), group


@dataclass(frozen=True, slots=True)
class TooFew:
    """Why nothing can be said: so many held-out weeks, of so many needed."""

    scores: int
    needed: int


def needed(chance: float) -> int:
    """Return how many scores a chance needs: below that even the highest is passed more often."""
    return math.ceil(1 / chance - 1e-9) - 1


def quantile(scores: Sequence[float], chance: float) -> float | None:
    """Return the level that a further score passes with at most this chance; None where there are too few."""
    rank = math.ceil((len(scores) + 1) * (1 - chance) - 1e-9)
    return None if rank > len(scores) else sorted(scores)[max(rank, 1) - 1]


def current(weeks: Weeks) -> Outlook | None:
    """Return the outlook on the next week; None where the history is too short."""
    whole, count = weeks.whole, len(weeks.weekly)
    if whole < LEAST_WEEKS:
        return None
    return outlook(weeks, count - min(whole - 1, TRAINED_ON), count)


def held_out(weeks: Weeks) -> tuple[Held, ...]:
    """Return the weeks that can be predicted from those before them, the last one first."""
    whole, count = weeks.whole, len(weeks.weekly)
    trained_on = min(whole - 1, TRAINED_ON)
    found = []
    for back in range(whole - LEAST_TRAINED_ON):
        stop = count - 1 - back
        first = max(stop - trained_on, count - whole)
        found.append(Held(outlook(weeks, first, stop), float(weeks.weekly[stop]), back))
    return tuple(found)


def calibrate(fleet: Sequence[Sequence[Held]], chance: float) -> Calibration | TooFew:
    """Learn the margin from a fleet's held-out weeks.

    One week of each container is used, its last; where these are too few for the chance, the last two of each, and so on. The
    scheme of each group is chosen on earlier weeks, which the margin does not see.

    Args:
        fleet: Of each container its held-out weeks, the last one first.
        chance: With which a week may come above its bound.
    """
    most = max((len(each) for each in fleet), default=0)
    least = needed(chance)
    for weeks_each in range(1, most + 1):
        used = [held for each in fleet for held in each[:weeks_each]]
        if len(used) >= least:
            earlier = [held for each in fleet for held in each[weeks_each:]]
            return Calibration(chance, _groups(used, earlier, chance), weeks_each)
    return TooFew(sum(len(each) for each in fleet), least)


def _groups(used: list[Held], earlier: list[Held], chance: float) -> tuple[Group, ...]:
    """Return groups of like spread, each with enough scores of its own."""
    count = max(1, min(_MOST_GROUPS, len(used) // (needed(chance) + 1)))
    ordered = sorted(used, key=lambda held: held.seen.daily_spread)
    edges = [ordered[len(ordered) * (number + 1) // count - 1].seen.daily_spread for number in range(count)]
    edges = sorted(set(edges))
    found, below = [], -math.inf
    for edge in edges:
        own = _within(used, below, edge)
        scheme = _scheme(_within(earlier, below, edge if edge != edges[-1] else math.inf), chance)
        margin = quantile(_scores(own, scheme), chance)
        if margin is None:  # equal spreads left this group with too few: all of them share one margin then
            scheme = _scheme(earlier, chance)
            margin = quantile(_scores(used, scheme), chance)
            assert margin is not None  # noqa: S101 - `calibrate` counted them
            return (Group(math.inf, scheme, margin, len(used)),)
        found.append(Group(edge if edge != edges[-1] else math.inf, scheme, margin, len(own)))
        below = edge
    return tuple(found)


def _within(held: Sequence[Held], below: float, edge: float) -> list[Held]:
    return [each for each in held if below < each.seen.daily_spread <= edge]


def _scores(held: Sequence[Held], scheme: Scheme) -> list[float]:
    return [(each.came - scheme.base(each.seen)) / scheme.size(each.seen) for each in held]


def _scheme(earlier: list[Held], chance: float) -> Scheme:
    """Return the scheme that would have asked for least on earlier weeks, at the same chance."""
    best, least = Scheme("highest", "one"), math.inf
    for level in _LEVELS:
        for unit in _UNITS:
            scheme = Scheme(level, unit)
            margin = quantile(_scores(earlier, scheme), chance)
            if margin is None:
                continue
            # Over-provision in logarithms: every container counts alike, and one wild one does not decide for all.
            asked = sum(scheme.base(each.seen) + margin * scheme.size(each.seen) - each.came for each in earlier)
            if asked < least:
                best, least = scheme, asked
    return best
