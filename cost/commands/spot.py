"""`drivetrain cost spot`: where a job should run, when on demand, and what that will cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from platform_lib.options import JsonOption


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

    from cost.spot.advice import advise
    from cost.spot.jobfile import read_job
    from platform_lib.console import OUT, print_json
    from platform_lib.storage import publish_bytes

    found = advise(read_job(job), runs=runs)
    target = out or job.with_suffix(".spot.json")
    publish_bytes(target, (json.dumps(found, indent=2) + "\n").encode())
    order = target.with_suffix(".order.json")
    if found["spot_order"] is not None:
        publish_bytes(order, (json.dumps(found["spot_order"], indent=2) + "\n").encode())
    if as_json:
        print_json(found)
        return
    for line in found["pools"]:
        share = "no history" if line["available_share"] is None else f"there {line['available_share']:.0%} of the time"
        OUT.print(f"{line['karpenter_weight']:>4}  {line['pool']}  ${line['spot_usd_per_hour']:.4f}/h  {share}")
    for line in found["unknown"]:
        OUT.print(f"   ?  {line}")
    expected = found["forecast"]
    if expected is not None:
        low, high = expected["cost_usd_quantiles"]["0.05"], expected["cost_usd_quantiles"]["0.95"]
        OUT.print(
            f"expected ${expected['expected_usd']:.2f} (nine of ten: ${low:.2f} to ${high:.2f}), on demand alone ${found['on_demand_only_usd']:.2f}"
        )
    OUT.print(f"written: {target}")
    if found["spot_order"] is not None:
        OUT.print(
            f"apply the order: drivetrain infra manifests --env {found['spot_order']['environment']} --spot-order {order}"
        )
