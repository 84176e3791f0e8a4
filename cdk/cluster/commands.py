"""`drivetrain infra manifests`: the objects of the clusters, as YAML or applied."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cdk.cluster.kinds.base import Manifest
from cdk.cluster.place import Place
from cdk.cluster.reading import coherent_objects, read_places
from cdk.config import ENVIRONMENTS
from platform_lib.console import OUT, print_json, progress
from platform_lib.errors import ConfigError, UsageError
from platform_lib.options import JsonOption


def manifests(
    env: Annotated[str, typer.Option("--env", help="The environment.")] = "local",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write YAML here, a folder a region, for Argo CD.", show_default=False),
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", help="With --apply: the kubeconfig's context.", show_default=False)
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", help="One region's cluster; with --apply the main one's.", show_default=False),
    ] = None,
    image_tag: Annotated[
        str | None, typer.Option("--image-tag", help="Our images' tag; this release's.", show_default=False)
    ] = None,
    outputs: Annotated[
        Path | None,
        typer.Option("--outputs", help="`terraform output -json` of the stack `metadata`.", show_default=False),
    ] = None,
    spot_order: Annotated[
        Path | None,
        typer.Option("--spot-order", help="Which pools are tried first: `drivetrain cost spot`.", show_default=False),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--environments", help="Where environments' files lie.", show_default=False, hidden=True)
    ] = ENVIRONMENTS,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="With --apply: how long to wait for kinds that charts install.")
    ] = 600.0,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Apply to the cluster of --context, server-side.")] = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="With --apply: take over fields that others own.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="With --apply: delete what was applied once and is no object now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the clusters' objects as YAML, or apply them; both are the same objects."""
    if apply is (out is not None):
        raise UsageError(
            "--out and --apply exclude each other" if apply else "neither --out nor --apply is given",
            where="drivetrain infra manifests",
            remedy="write them with --out FOLDER, or bring them with --apply --context CONTEXT",
        )
    places = read_places(
        env,
        today=datetime.now(UTC).date(),
        region=region,
        image_tag=image_tag,
        outputs=outputs,
        folder=folder,
    )
    if out is not None:
        _render(places, out, spot_order, as_json=as_json)
        return
    place = places[0]
    _require_complete(place, context)
    objects = coherent_objects(place, spot_order)
    _apply(place, objects, str(context), wait_s=wait_s, force=force_conflicts, prune=prune, as_json=as_json)


def _render(places: list[Place], out: Path, spot_order: Path | None, *, as_json: bool) -> None:
    from cdk.cluster.doors.rendering import render

    made = [(place, coherent_objects(place, spot_order)) for place in places]
    rows = []
    for place, objects in made:
        files = render(objects, out / place.region.name)
        rows.append({"region": place.region.name, "folder": out / place.region.name, "objects": len(files)})
    stand_ins = places[0].outputs.provisional
    if as_json:
        print_json({"regions": rows, "stand_ins": stand_ins})
        return
    for row in rows:
        OUT.print(f"{row['folder']}: {row['objects']} objects", highlight=False)
    if stand_ins:
        OUT.print(
            f"provisional: stand-ins for {', '.join(stand_ins)}; --outputs takes what Terraform gave", highlight=False
        )


def _require_complete(place: Place, context: str | None) -> None:
    if context is None:
        raise UsageError(
            "--apply needs the cluster by name: the current context may be another's",
            where="--context",
            remedy="see `kubectl config get-contexts`",
        )
    if place.outputs.provisional:
        raise ConfigError(
            f"what Terraform gives is not known: {', '.join(place.outputs.provisional)}",
            where=f"cluster {place.name}",
            remedy="apply the stack `metadata`, write `terraform output -json` to a file, and name it with --outputs",
        )


def _apply(
    place: Place,
    objects: tuple[Manifest, ...],
    context: str,
    *,
    wait_s: float,
    force: bool,
    prune: bool,
    as_json: bool,
) -> None:
    from cdk.cluster.doors.applying import ApplyPlan, apply, connected

    with connected(context) as cluster, progress(f"applying to {place.name}", len(objects)) as task:
        done = apply(
            cluster,
            objects,
            ApplyPlan(
                wait_s=wait_s,
                force_conflicts=force,
                prune=prune,
                told=lambda applied: task.advance(note=f"{applied.name}: {applied.outcome.value}"),
            ),
        )
    counts = Counter(item.outcome.value for item in done)
    if as_json:
        print_json(
            {"cluster": place.name, "outcomes": counts, "objects": {item.name: item.outcome.value for item in done}}
        )
    else:
        OUT.print(
            f"{place.name}: " + ", ".join(f"{count} {word}" for word, count in sorted(counts.items())), highlight=False
        )
