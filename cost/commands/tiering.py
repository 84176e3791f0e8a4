"""`drivetrain cost tiering`: which storage class objects should lie in at which age, and what that saves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cost.commands.judging import PricesOption
from platform_lib.options import JsonOption

_MANY = "a file or folder; repeat it."


def tiering(
    inventory: Annotated[
        Path, typer.Option("--inventory", help="manifest.json of S3 Inventory, or a folder above it.")
    ],
    access_log: Annotated[
        list[Path] | None, typer.Option("--access-log", help=f"Server access logs: {_MANY}", show_default=False)
    ] = None,
    cloudtrail: Annotated[
        list[Path] | None, typer.Option("--cloudtrail", help=f"CloudTrail's data events: {_MANY}", show_default=False)
    ] = None,
    storage_lens: Annotated[
        list[Path] | None, typer.Option("--storage-lens", help=f"Exports of Storage Lens: {_MANY}", show_default=False)
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Lives, waiting, reads that the owner knows.", show_default=False)
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", help="The bucket's rules: get-bucket-lifecycle-configuration.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the bucket's new rules go.")] = Path("lifecycle.json"),
    proposals: Annotated[
        Path | None, typer.Option("--proposals", help="Also write them for `cost report`.", show_default=False)
    ] = None,
    life_days: Annotated[
        int, typer.Option("--life-days", min=1, max=36_500, help="How old objects get, where settings do not say.")
    ] = 365,
    prefix_depth: Annotated[
        int, typer.Option("--prefix-depth", min=0, max=20, help="How many folders of a key make its prefix.")
    ] = 1,
    plan_days: Annotated[
        int, typer.Option("--plan-days", min=0, max=3650, help="For how long to count what arrives.")
    ] = 365,
    prices: PricesOption = None,
    region: Annotated[str, typer.Option("--region", help="Where the bucket lies.")] = "us-east-1",
    *,
    as_json: JsonOption = False,
) -> None:
    """Find the cheapest lifecycle of a bucket from its inventory and logs; refuse what does not pay back, with the arithmetic."""
    import json

    from cost.prices.model import stale
    from cost.tiering.advice import advise, document_of, finals, prices_used
    from cost.tiering.advice import proposals as proposals_of
    from cost.tiering.lifecycle import rules_document
    from cost.tiering.reading import Sources, gather
    from cost.tiering.showing import show
    from platform_lib.console import OUT, print_json, progress
    from platform_lib.storage import publish_bytes

    gathered = gather(
        Sources(
            inventory=inventory,
            access_logs=tuple(access_log or ()),
            cloudtrail=tuple(cloudtrail or ()),
            storage_lens=tuple(storage_lens or ()),
            settings=settings,
            rules=rules,
            prices=prices,
            region=region,
            depth=prefix_depth,
            life_days=life_days,
            plan_days=plan_days,
        )
    )
    asked, cells = gathered.asked, []
    with progress("planning", len(asked.holdings.cells)) as task:
        for cell in advise(asked):
            cells.append(cell)
            task.advance(note=cell.prefix)
    written = rules_document(finals(cells), asked.current, asked.settings.keep)
    publish_bytes(out, (json.dumps(written, indent=2) + "\n").encode())
    command = f"aws s3api put-bucket-lifecycle-configuration --bucket {gathered.bucket} --lifecycle-configuration file://{out}"
    if proposals is not None:
        compact = {cell.prefix: asked.settings.of(cell.prefix).compact or "" for cell in cells}
        found = proposals_of(cells, command, compact, asked.fees)
        publish_bytes(proposals, (json.dumps(found, indent=2) + "\n").encode())
    old = stale(asked.fees.prices.values(), datetime.now(UTC).date())
    if as_json:
        print_json(
            {
                "bucket": gathered.bucket,
                **document_of(cells),
                "rules": out,
                "proposals": proposals,
                "command": command,
                "watched": {"days": asked.watched_days, "lines": gathered.watch.lines, "other_lines": gathered.watch.others,
                            "sample_share": asked.share, "reads_of_unknown_keys": asked.holdings.sample.unmatched},
                "old_versions": {"objects": asked.holdings.old_versions.objects, "bytes": asked.holdings.old_versions.size_bytes,
                                 "delete_markers": asked.holdings.markers},
                "locks_told": gathered.tells_locks,
                "not_read": gathered.problems.document(),
                "snapshot": gathered.snapshot,
                "prices": prices_used(asked.fees),
                "stale_prices": [each.meter.item for each in old],
            }
        )  # fmt: skip
        return
    show(gathered, cells, old)
    OUT.print(f"\nwritten: {out}, the bucket's whole configuration", highlight=False)
    OUT.print(f"apply: {command}", markup=False, highlight=False)
    OUT.print(
        "or name it as `lifecycle_file` of its bucket in an environment, then: make plan", markup=False, highlight=False
    )
