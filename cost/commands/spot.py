"""`drivetrain cost spot`: where a job should run, when on demand, and what that will cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from platform_lib.options import JsonOption

_NOT_FEASIBLE_STATUS = 5
"""As of a budget that fails: the answer is complete, and it is no."""


def spot(
    job: Annotated[Path, typer.Option("--job", help="The work, its deadline, its pools with prices and histories.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write the JSON. Default: JOB with .spot.json.", show_default=False),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=10, help="Futures in the forecast.")] = 200,
    *,
    as_json: JsonOption = False,
) -> None:
    """Order spot pools for a job with a deadline: weights, checkpoint interval, cost as a distribution."""
    import json
    from datetime import UTC, datetime

    from cost.spot.advice import advise
    from cost.spot.jobfile import read_job
    from platform_lib.console import print_json
    from platform_lib.storage import publish_bytes

    found = advise(read_job(job), datetime.now(UTC).date(), runs=runs)
    target = out or job.with_suffix(".spot.json")
    publish_bytes(target, (json.dumps(found, indent=2) + "\n").encode())
    order = target.with_suffix(".order.json") if found["spot_order"] is not None else None
    if order is not None:
        publish_bytes(order, (json.dumps(found["spot_order"], indent=2) + "\n").encode())
    if as_json:
        print_json(found)
    else:
        _show(found, target, order)
    if not found["feasible"]:
        raise typer.Exit(_NOT_FEASIBLE_STATUS)


def _show(found: dict[str, Any], target: Path, order: Path | None) -> None:
    from platform_lib.console import OUT

    def say(text: str) -> None:
        OUT.print(text, markup=False, highlight=False)

    for line in found["pools"]:
        share = "no history" if line["available_share"] is None else f"there {line['available_share']:.0%} of the time"
        say(f"{line['karpenter_weight']:>4}  {line['pool']}  ${line['spot_usd_per_hour']:.4f}/h  {share}{_kept(line)}")
        say(
            f"      spot of {line['price_sources'][0]}; on demand ${line['on_demand_usd_per_hour']:.4f}/h of {line['price_sources'][1]}"
        )
    for line in (*found["unknown"], *found["odd_prices"]):
        say(f"   ?  {line}")
    expected = found["forecast"]
    if expected is None:
        say(f"no forecast: {found['no_forecast']}")
    else:
        low, high = expected["cost_usd_quantiles"]["0.05"], expected["cost_usd_quantiles"]["0.95"]
        say(
            f"expected ${expected['expected_usd']:.2f} (nine of ten: ${low:.2f} to ${high:.2f}), on demand alone ${found['on_demand_only_usd']:.2f}"
        )
        chances = ", ".join(f"{hour} h {chance:.1%}" for hour, chance in expected["chance_finished_by_h"].items())
        say(f"done within: {chances}; {expected['mean_on_demand_h']:.1f} h of it on demand")
        say(f"policy {found['policy']}; {expected['runs']} futures {expected['source']}; {expected['assumes']}")
    say(f"written: {target}, which `drivetrain submit train --spot` takes")
    if order is not None:
        environment = found["spot_order"]["environment"]
        say(f"apply the order: drivetrain infra manifests --env {environment} --spot-order {order}")


def _kept(line: dict[str, Any]) -> str:
    if line["checkpoint_interval_s"] is None:
        return ""
    return f", {line['mean_life_h']:.1f} h at a time; a checkpoint every {line['checkpoint_interval_s']} s keeps {line['useful_fraction']:.0%}"
