"""The rules that need no history: greedy, and Uniform Progress (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from cost.spot.envelope import cheapest_on_demand, guarded
from cost.spot.model import IDLE, Action, View


@dataclass(frozen=True, slots=True)
class Greedy:
    """Spot whenever it is there, nothing while it is not, on-demand for good when only just enough time is left."""

    def decide(self, view: View) -> Action:
        """Return where to be during the coming tick."""
        if view.place.kind == "on_demand":
            return view.place
        return guarded(view, spot_or_idle(view))


@dataclass(frozen=True, slots=True)
class UniformProgress:
    """Keeps progress on the straight line from nothing now to everything at the deadline.

    Idle: spot where it is there, on-demand when behind the line. On spot: stays until interrupted. On demand: stays until
    spot is there and progress is ahead of where the line is two launches later. Idle with less than two launches to
    spare: on-demand for good. Over several pools, spot is the cheapest that can be had.

    Of two readings of the hysteresis, which differ in whether on-demand is left for nothing when ahead, this one does
    not, and costs less on the measured traces.

    Source: Wu et al., "Can't Be Late: Optimizing Spot Instance Savings under Deadlines", NSDI 2024, section 4.
    """

    def decide(self, view: View) -> Action:
        """Return where to be during the coming tick."""
        return guarded(view, self._wish(view))

    def _wish(self, view: View) -> Action:
        place = view.place
        done = view.work_ticks - view.work_left_ticks
        if place.kind == "spot":
            return place
        if place.kind == "on_demand":
            line = (view.tick + 2 * view.restart_ticks) * view.work_ticks / view.deadline_ticks
            spot = spot_or_idle(view)
            return spot if spot.kind == "spot" and done >= line else place
        if view.time_left_ticks < view.work_left_ticks + 2 * view.restart_ticks:
            return Action("on_demand", cheapest_on_demand(view))
        wish = spot_or_idle(view)
        if wish == IDLE and done < view.tick * view.work_ticks / view.deadline_ticks:
            return Action("on_demand", cheapest_on_demand(view))
        return wish


def spot_or_idle(view: View) -> Action:
    """Return the running spot instance, else the cheapest that can be had, else nothing."""
    if view.place.kind == "spot":
        return view.place
    now = view.available[-1]
    if not now.any():
        return IDLE
    prices = [price if up else float("inf") for price, up in zip(view.spot_usd_per_hour, now, strict=True)]
    return Action("spot", prices.index(min(prices)))
