"""What a packing says, as a document: ours beside best fit, beside what nothing can beat. Pure."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from cost.plan.model import HOURS
from cost.prices.model import Book
from cost.rightsize.accelerators import TYPES, capacity_of, shape_of
from cost.rightsize.checking import faults
from cost.rightsize.packer import Packed, pack
from cost.rightsize.packing import Packing, Pod, Shape
from platform_lib.errors import IntegrityError


def shapes_to_buy(patterns: Sequence[str], region: str, book: Book) -> tuple[tuple[Shape, ...], tuple[str, ...]]:
    """Return priced types that match, and those that are left out because price or size is not known.

    Args:
        patterns: `g6.*`, `m7i.4xlarge`.
        region: Of the prices.
        book: Prices.
    """
    names = {
        meter.item.removeprefix("on-demand ")
        for meter, place in book.prices
        if place == region and meter.service == "ec2"
    }
    names |= set(TYPES)
    shapes, unknown = [], []
    for pattern in patterns:
        matching = sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))
        if not matching:
            unknown.append(pattern)
        for name in matching:
            price, shape = book.on_demand(name, region), shape_of(name)
            if capacity_of(name) is None or shape is None or price is None:
                unknown.append(name)
            else:
                shapes.append(replace(shape, name=name, usd_per_hour=price.usd, price_source=price.origin))
    return tuple(dict.fromkeys(shapes)), tuple(dict.fromkeys(unknown))


def checked(pods: Sequence[Pod], shapes: Sequence[Shape]) -> Packed:
    """Pack, and check every packing by counting anew.

    Raises:
        IntegrityError: A packing is wrong: nothing is reported from it.
    """
    found = pack(pods, shapes)
    for packing in (found.ours, found.best_fit, found.in_order):
        wrong = faults(packing, pods)
        if wrong:
            raise IntegrityError(f"a packing is wrong: {'; '.join(wrong[:3])}", remedy="report this with the input")
    return found


def document_of(found: Packed, pods: Sequence[Pod], present: int | None) -> dict[str, Any]:
    """Return all of it.

    Args:
        found: What was packed.
        pods: What was to be placed.
        present: How many nodes there are today; None where nodes are bought anew.
    """
    bound, priced = found.bound, found.bound.priced
    unit = "USD an hour" if priced else "nodes"
    least = bound.least_whole if priced else float(math.ceil(bound.least_whole - 1e-6))
    ours = float(found.ours.usd_per_hour() or 0) if priced else float(len(found.ours.nodes))
    complete = not found.ours.unplaced and bound.least_unplaced == 0
    price, before = found.ours.usd_per_hour(), found.best_fit.usd_per_hour()
    return {
        "format": "drivetrain-rightsize-nodes/1",
        "pods": len(pods),
        "present_nodes": present,
        "ours": _packing(found.ours),
        "best_fit_decreasing": _packing(found.best_fit),
        "best_fit_in_order": _packing(found.in_order),
        "bound": {
            "unit": unit,
            "linear": round(bound.least_cost, 4),
            "whole_nodes": round(least, 4),
            "least_unplaced": bound.least_unplaced,
        },
        "gap_to_bound": round(ours / least - 1, 4) if complete and least > 0 else None,
        "checked": True,
        "prices": _prices(found),
        "saves": {
            "nodes_of_present": None if present is None or found.ours.unplaced else present - len(found.ours.nodes),
            "nodes_of_best_fit": None
            if found.ours.unplaced or found.best_fit.unplaced
            else len(found.best_fit.nodes) - len(found.ours.nodes),
            "usd_a_month_of_best_fit": None
            if price is None or before is None or found.ours.unplaced or found.best_fit.unplaced
            else float((before - price) * HOURS),
        },
    }


def _prices(found: Packed) -> list[dict[str, str]]:
    """Return the prices of every shape that a packing uses, each with its source and day."""
    used = {packing.shapes[at] for packing in (found.ours, found.best_fit, found.in_order) for at, _ in packing.nodes}
    return [
        {"type": shape.name, "usd_per_hour": str(shape.usd_per_hour), "source": shape.price_source}
        for shape in sorted(used, key=lambda each: each.name)
        if shape.usd_per_hour is not None
    ]


def _packing(packing: Packing) -> dict[str, Any]:
    price = packing.usd_per_hour()
    return {
        "nodes": len(packing.nodes),
        "usd_per_hour": None if price is None else float(price),
        "unplaced": len(packing.unplaced),
        "shapes": dict(sorted(packing.counts().items(), key=lambda item: (-item[1], item[0]))),
    }


def rows_of(document: dict[str, Any]) -> list[list[str]]:
    """Return a row a packing, and one of the bound."""
    rows = []
    if document["present_nodes"] is not None:
        rows.append(["as it is", str(document["present_nodes"]), "", "", ""])
    for title, name in (
        ("best fit, in order", "best_fit_in_order"),
        ("best fit, decreasing", "best_fit_decreasing"),
        ("packed", "ours"),
    ):
        one = document[name]
        rows.append(
            [title, str(one["nodes"]), _usd(one["usd_per_hour"]), str(one["unplaced"]), _shapes(one["shapes"].items())]
        )
    bound = document["bound"]
    in_nodes = bound["unit"] == "nodes"
    for title, value in (("bound, linear", bound["linear"]), ("bound, whole nodes", bound["whole_nodes"])):
        nodes, usd = (f"{value:.1f}", "") if in_nodes else ("", _usd(value))
        rows.append([title, nodes, usd, str(bound["least_unplaced"]), "no packing is below this"])
    return rows


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f}"


def _shapes(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts)
