"""The one rule that no policy may break: after every tick, on-demand must still meet the deadline (pure)."""

from __future__ import annotations

from cost.spot.model import Action, View

_ROUNDING = 1e-9


def keeps_deadline(view: View, action: Action) -> bool:
    """Return whether the deadline can be met after this tick, should spot be nowhere from then on.

    Args:
        view: What is known now.
        action: What is to be done for one tick.
    """
    if action.kind == "on_demand":
        return True  # it works from the first moment it can; staying or launching loses nothing
    if action.kind == "idle":
        return view.slack_ticks - 1 >= -_ROUNDING
    launching = view.restart_left_ticks if action == view.place else view.restart_ticks
    if launching + view.work_left_ticks <= min(1.0, view.time_left_ticks):
        return True  # it finishes within the tick, for which spot is certain
    return view.slack_ticks - min(1.0, launching) >= -_ROUNDING


def guarded(view: View, action: Action) -> Action:
    """Return the action, or on-demand where the action would put the deadline at risk.

    On-demand that already runs is kept: another pool's would pay for a second launch.
    """
    place = view.place
    if action.kind == "on_demand":
        # Changing the pool of on-demand restarts it, which only slack pays for.
        if place.kind == "on_demand" and action != place and view.slack_ticks < 0:
            return place
        return action
    if keeps_deadline(view, action):
        return action
    if place.kind == "on_demand":
        return place
    if place.kind == "spot" and keeps_deadline(view, place):
        return place
    return Action("on_demand", cheapest_on_demand(view))


def cheapest_on_demand(view: View) -> int:
    """Return the pool whose on-demand price is lowest now."""
    return int(view.on_demand_usd_per_hour.argmin())
