"""What `drivetrain cost network` tells: as one JSON document, and as tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from cost.amount import money
from cost.network.analysis import Found
from cost.network.costing import GB, Costed, Outside, Pair
from cost.network.ledger import Traffic
from cost.network.reading_flows import ReadLogs
from cost.prices.model import provenance, stale
from cost.report.proposals import ProposalFile
from platform_lib.console import OUT
from platform_lib.table import Column, print_table

FORMAT = "drivetrain-network/1"
_FAR_H = 1.0
"""Pods of an hour ago are mostly those of now; of yesterday they are not."""


@dataclass(frozen=True, slots=True)
class Told:
    """All that was found.

    Attributes:
        logs: What reading found.
        traffic: Who sent whom how much.
        costed: What that costs.
        found: The placement; None without pods.
        proposals: What would cost less.
        out: Where files were written; None for nowhere.
        taken_s: When snapshots of pods were made.
    """

    logs: ReadLogs
    traffic: Traffic
    costed: Costed
    found: Found | None
    proposals: ProposalFile
    out: Path | None
    taken_s: tuple[int, ...] = ()

    @property
    def apart_h(self) -> float:
        """How far the nearest snapshot is from the time of the logs, in hours; 0 for one within it."""
        first, last = self.traffic.first_s or 0, self.traffic.last_s or 0
        return min((max(first - taken, taken - last, 0) / 3600 for taken in self.taken_s), default=0.0)


def document_of(told: Told, *, top: int) -> dict[str, Any]:
    """Return everything as one document; of pairs the dearest."""
    costed, traffic, logs = told.costed, told.traffic, told.logs
    return {
        "format": FORMAT,
        "recorded": {
            "from": _when(traffic.first_s),
            "to": _when(traffic.last_s),
            "covered_hours": traffic.covered_s / 3600,
            "packet_addresses": traffic.packet,
            "files": logs.files,
            "records": logs.records,
            "no_data_windows": logs.no_data,
            "skipped_windows": logs.skipped,
            "broken_lines": dict(logs.broken),
            "broken_examples": logs.examples,
            "cut_files": logs.cut,
            "repeated_files": logs.repeated,
            "rejected_bytes": traffic.rejected_bytes,
            "recorded_twice_bytes": traffic.twice_bytes,
            "complete": logs.complete,
            "snapshots": [_when(taken) for taken in told.taken_s],
            "hours_to_nearest_snapshot": told.apart_h,
        },
        "month": {
            "hours": 730,
            "total": costed.total.document(),
            "across_zones": {
                **costed.across.document(),
                "bytes": float(costed.bytes_where(crosses=True)),
                "zone_unknown_bytes": float(costed.bytes_where(crosses=None)),
                "within_zone_bytes": float(costed.bytes_where(crosses=False)),
            },
            "nat": costed.nat.document(),
            "interface_endpoints": costed.endpoint.document(),
        },
        "pairs": [_pair(item) for item in _talkers(costed)[:top]],
        "outside": [_way(item) for item in costed.outside],
        "endpoints": [_way(item) for item in costed.endpoints],
        "placement": None if told.found is None else _placement(told.found),
        "proposals": [item.model_dump(mode="json") for item in told.proposals.proposals],
        "prices": [
            {
                "meter": str(p.meter),
                "region": p.region,
                "unit": p.unit,
                "usd": str(p.usd),
                "source": p.source,
                "dated": p.dated,
            }
            for p in costed.prices.used
        ],
        "written": None if told.out is None else str(told.out),
    }


def _when(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _talkers(costed: Costed) -> list[Pair]:
    """Return the pairs that cross zones, or may."""
    return [pair for pair in costed.pairs if pair.crosses is not False]


def _pair(item: Pair) -> dict[str, Any]:
    return {
        "source": item.source,
        "target": item.target,
        "source_zone": item.source_zone,
        "target_zone": item.target_zone,
        "crosses": item.crosses,
        "month_bytes": float(item.month_bytes),
        **item.usd.document(),
    }


def _way(item: Outside) -> dict[str, Any]:
    return {"service": item.service, "way": item.way, "month_bytes": float(item.month_bytes), **item.usd.document()}


def _placement(found: Found) -> dict[str, Any]:
    outcome, placing = found.outcome, found.placing
    placed = outcome is not None and outcome.placement is not None
    return {
        "refused": found.placed.refused or None,
        "units": len(placing.problem.units) - len(placing.problem.zones),
        "zones": placing.problem.zones,
        "month_bytes": placing.problem.total,
        "crossing_now_bytes": placing.now_bytes,
        "crossing_with_services_near_bytes": placing.near_bytes,
        "crossing_bytes": outcome.crossing_bytes if outcome is not None and placed else None,
        "bound_bytes": outcome.bound_bytes if outcome is not None and placed else None,
        "gap": None if outcome is None else outcome.gap,
        "even_spread_bytes": found.even_bytes,
        "moved": None if outcome is None else outcome.moved,
        "seconds": None if outcome is None else outcome.seconds,
        "method": None if outcome is None else outcome.method,
        "why_impossible": [] if outcome is None else list(outcome.refused),
        "told_by_node_only_bytes": placing.at_nodes_bytes,
        "left_out_bytes": placing.left_out_bytes,
        "may_not_fit": list(found.tight),
        "patches": [
            {"kind": p.kind, "namespace": p.namespace, "name": p.name, "exact": p.exact, "why": p.why, "patch": p.body, "command": p.command}
            for p in found.patches
        ],
    }  # fmt: skip


def show(told: Told, *, top: int) -> None:
    """Print it for people."""
    costed, traffic = told.costed, told.traffic
    _say(f"[bold]a month between zones[/]: {costed.across}; NAT {costed.nat}; interface endpoints {costed.endpoint}")
    _say(
        f"recorded {_when(traffic.first_s)} to {_when(traffic.last_s)}, {traffic.covered_s / 3600:.1f} h of it with records, taken for "
        f"730 h; {told.logs.records:,} records, {_gb(Decimal(traffic.twice_bytes))} GB recorded twice and counted once"
    )
    _show_gaps(told)
    rows = [
        [item.source, item.target, item.source_zone, item.target_zone, _gb(item.month_bytes), str(item.usd)]
        for item in _talkers(costed)[:top]
    ]
    if rows:
        _say("\n[bold]who sends to whom across zones[/], a month")
        columns = (
            Column("from"),
            Column("to"),
            Column("zone"),
            Column("to zone"),
            Column("GB", right=True),
            Column("USD", right=True),
        )
        print_table(columns, rows)
    ways = [
        [item.service, item.way, _gb(item.month_bytes), str(item.usd)] for item in (*costed.outside, *costed.endpoints)
    ]
    if ways:
        _say("\n[bold]beyond the network[/], a month: what the way takes, without transfer to the internet")
        print_table((Column("service"), Column("way"), Column("GB", right=True), Column("USD", right=True)), ways[:top])
    if told.found is not None:
        _show_placement(told.found, costed)
    _show_proposals(told.proposals)
    if costed.prices.used:
        OUT.print(f"\nprices of {'; '.join(provenance(costed.prices.used))}", markup=False, highlight=False)
    old = stale(costed.prices.used, datetime.now(UTC).date())
    if old:
        _say(f"{len(old)} prices are stale, the oldest of {old[0].dated}: `drivetrain cost prices refresh` asks AWS")
    if told.out is not None:
        _say(f"written: {told.out}")


def _show_gaps(told: Told) -> None:
    logs = told.logs
    parts = [
        (logs.skipped, f"{logs.skipped} windows of which AWS left records out (SKIPDATA)"),
        (
            logs.broken.total(),
            f"{logs.broken.total()} broken lines, the first: {logs.examples[0] if logs.examples else ''}",
        ),
        (len(logs.cut), f"{len(logs.cut)} files cut short, the first: {logs.cut[0] if logs.cut else ''}"),
    ]
    for count, said in parts:
        if count:
            OUT.print(f"not known: {said}; sums are at least", markup=False, highlight=False)
    for path in logs.repeated:
        OUT.print(f"the same bytes as another file, read once: {path}", markup=False, highlight=False)
    if told.apart_h > _FAR_H:
        _say(
            f"no snapshot of pods is nearer than {told.apart_h:.1f} h to these logs, by the latest time in its file (FILE@TIME says "
            "it better): addresses may have been others' then"
        )
    if not any(item.service != "internet" for item in told.costed.outside) and told.costed.outside:
        _say("nothing tells which of what leaves the network is S3: --ip-ranges, or pkt-dst-aws-service in the format")
    unknown = told.costed.bytes_where(crosses=None)
    if unknown:
        _say(
            f"of {_gb(unknown)} GB a month the zone of an end is not known: --enis, --zones and further --pods tell more"
        )
    if not told.traffic.packet:
        _say("the format lacks pkt-srcaddr and pkt-dstaddr: pods' bytes are told by node")


def _show_placement(found: Found, costed: Costed) -> None:
    placing, outcome = found.placing, found.outcome
    _say("\n[bold]placement[/]")
    if found.placed.refused:
        OUT.print(f"  none: {found.placed.refused}", markup=False, highlight=False)
    if outcome is None or outcome.placement is None:
        return
    rows = [
        ("now", placing.now_bytes),
        ("services near, nothing moved", placing.near_bytes),
        ("as placed", outcome.crossing_bytes),
        ("no placement gets below", outcome.bound_bytes),
        ("spread evenly", found.even_bytes),
    ]
    cells = [[name, _gb(Decimal(size)), _usd(size, costed)] for name, size in rows]
    print_table((Column("crosses zones, a month"), Column("GB", right=True), Column("USD", right=True)), cells)
    gap = outcome.gap or 0.0
    _say(
        f"{outcome.moved} of {len(placing.groups)} units move; gap {gap:.1%}; {outcome.method}, {outcome.seconds:.1f} s"
    )
    for text in found.tight[:5]:
        OUT.print(f"  may find no node with room: {text}", markup=False, highlight=False)
    for item in found.patches:
        mark = "" if item.exact else " (like it, not exactly)"
        OUT.print(f"  {item.kind} {item.namespace}/{item.name}: {item.why}{mark}", markup=False, highlight=False)


def _show_proposals(file: ProposalFile) -> None:
    if not file.proposals:
        return
    _say("\n[bold]what would cost less[/], a month")
    for item in file.proposals:
        expected = item.saves_usd.expected
        saved = "unknown" if expected is None else money(expected)
        OUT.print(f"  {saved}: {item.title}", markup=False, highlight=False)
        said = f"refused: {item.refused}" if item.refused else item.command
        OUT.print(f"      {said}", markup=False, highlight=False)


def _usd(size: float, costed: Costed) -> str:
    return str(costed.prices.across(Decimal(size)))


def _gb(size: Decimal) -> str:
    return f"{size / GB:,.1f}"


def _say(text: str) -> None:
    OUT.print(text, highlight=False)
