"""What a job costs, before it is launched: from the price book and from a spot plan, both as JSON of `cost`'s commands.

Unknown is not zero: a type without a price, a duration that nobody named, stay unknown and say so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from platform_lib.errors import ConfigError

Ask = Callable[[Sequence[str]], Mapping[str, Any]]
"""Runs another command of `drivetrain` and returns its JSON; the command table is the one place that joins rooms."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a job costs.

    Attributes:
        lines: For people.
        document: The same for machines.
        checkpoint_every_s: How often the spot plan has a state saved; None without one.
    """

    lines: tuple[str, ...]
    document: dict[str, JsonValue]
    checkpoint_every_s: float | None = None


def local_price() -> Price:
    """Return the price on this machine, which nobody bills by the hour."""
    return Price(("this machine: nothing is billed by the hour",), {"where": "this machine", "usd_per_hour": None})


def cluster_price(
    ask: Ask, *, instance_types: Sequence[str], region: str, nodes: int, hours: float | None, spot: Path | None
) -> Price:
    """Return the price of nodes.

    Args:
        ask: How the price book is asked.
        instance_types: What the pool may be made of; the dearest is counted.
        region: Where.
        nodes: How many.
        hours: How long; None if nobody said.
        spot: What `drivetrain cost spot --job` wrote.
    """
    hourly = {name: _hourly(ask, name, region) for name in instance_types}
    known = {name: found for name, found in hourly.items() if found is not None}
    unknown = sorted(set(hourly) - set(known))
    lines, document = [], dict[str, JsonValue]()
    document.update(region=region, nodes=nodes, hours=hours, instance_types=list(instance_types), unknown=[*unknown])
    if unknown or not known:
        named = ", ".join(unknown) or "no instance type is named"
        lines.append(f"on demand: unknown, the price book of {region} lacks {named} (`drivetrain cost prices refresh`)")
        document.update(on_demand_usd_per_hour=None, on_demand_usd=None)
    else:
        dearest = max(known, key=lambda name: known[name][0])
        each, source = known[dearest]
        total = each * nodes
        usd = None if hours is None else total * Decimal(str(hours))
        spent = "the total is unknown without --hours" if usd is None else f"${usd:.2f} for {hours:g} h"
        lines.append(f"on demand: {nodes} x {dearest} at ${each:.4f} = ${total:.2f}/h; {spent} ({source})")
        document.update(
            instance_type=dearest,
            on_demand_usd_per_hour=float(total),
            on_demand_usd=None if usd is None else float(usd),
            source=source,
        )
    plan = None if spot is None else _plan(spot)
    if plan is not None:
        lines.extend(_spot_lines(plan))
        document.update(spot={name: plan[name] for name in ("policy", "pool_order", "forecast", "on_demand_only_usd")})
    return Price(tuple(lines), document, None if plan is None else _interval_s(plan))


def _hourly(ask: Ask, instance_type: str, region: str) -> tuple[Decimal, str] | None:
    found = ask(("cost", "prices", "show", f"on-demand {instance_type}"))
    for item in found["prices"]:
        if item["meter"] == f"ec2: on-demand {instance_type}" and item["region"] == region:
            stale = ", stale" if item["stale"] else ""
            return Decimal(item["usd"]), f"{item['source']}, {item['dated']}{stale}"
    return None


def _plan(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        _ = found["pool_order"], found["pools"], found["forecast"], found["policy"], found["on_demand_only_usd"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"not what `drivetrain cost spot` writes ({type(error).__name__}: {error})",
            where=path,
            remedy="drivetrain cost spot --job job.yaml writes job.spot.json",
        ) from error
    plan: dict[str, Any] = found
    return plan


def _spot_lines(plan: Mapping[str, Any]) -> list[str]:
    expected = plan["forecast"]
    if expected is None:
        why = plan.get("no_forecast") or "the plan's pools have no history, or its deadline cannot be met"
        lines = [f"on spot: no forecast; {why}"]
    else:
        low, high = (expected["cost_usd_quantiles"][level] for level in ("0.05", "0.95"))
        lines = [
            f"on spot: ${expected['expected_usd']:.2f} expected, nine of ten between ${low:.2f} and ${high:.2f}; "
            f"on demand alone ${plan['on_demand_only_usd']:.2f}"
        ]
    lines.append(f"pools in order: {', '.join(plan['pool_order']) or 'none has a price'}")
    interval = _interval_s(plan)
    if interval is not None:
        lines.append(f"a checkpoint every {interval:.0f} s, as the first pool's lives ask for")
    return lines


def _interval_s(plan: Mapping[str, Any]) -> float | None:
    """Return the interval of the pool that is tried first."""
    found = next((pool["checkpoint_interval_s"] for pool in plan["pools"]), None)
    return None if found is None else float(found)
