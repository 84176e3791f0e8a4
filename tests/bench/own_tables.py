"""What is measured in a table of its own: no side beside a peer, round after round, but a study with its own lines."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.catalog_latency import ASKED, latency_table, measure_fleet
from tests.bench.edge import edge_table, measure_edge
from tests.bench.evaluation import evaluation_table, measure_drives, measure_scores
from tests.bench.files import Cache
from tests.bench.fleet import Fleet
from tests.bench.fleet_rows import FULL_DRIVES
from tests.bench.network import SIZES, measure_network, network_table
from tests.bench.rightsize import measure_nodes, measure_requests, rightsize_table
from tests.bench.spot import measure_spot, spot_table
from tests.bench.spot_picture import picture
from tests.bench.tiering import measure_tiering, tiering_table
from tests.bench.training import measure_training, training_table


@dataclass(frozen=True, slots=True)
class Answer:
    """A table as people read it, and for machines; `unsound` is one whose measurement is wrong, not slow."""

    text: str
    told: object
    unsound: bool = False


@dataclass(frozen=True, slots=True)
class OwnTable:
    """One study.

    Attributes:
        key: What chooses it.
        ask: Measures it, given the files and the number of rounds; None where what it needs is not there, which it tells.
        small: Whether it says something at a small size; else it runs then only where it is named.
    """

    key: str
    ask: Callable[[Cache, int], Answer | None]
    small: bool = True


def tell(text: str) -> None:
    """Say on standard error where a measurement is."""
    sys.stderr.write(f"{text}\n")


def _rows(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(row) for row in rows]


def _catalogue(cache: Cache, rounds: int) -> Answer:
    """Ask the ten questions of a catalogue a tenth of the full size; it is made for this and deleted."""
    del rounds
    asked = ASKED if cache.scale >= 1 else 30
    fleet = Fleet(max(1000, int(FULL_DRIVES / 10 * cache.scale)))
    cache.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="catalogue-", dir=cache.folder, ignore_cleanup_errors=True) as root:
        Path(root).chmod(0o755)  # as root, the server runs as another account
        measured = measure_fleet(Path(root), fleet, lambda text: tell(f"catalogue: {text}"), asked=asked)
    return Answer(latency_table(measured), dataclasses.asdict(measured))


def _spot(cache: Cache, rounds: int) -> Answer | None:
    """Measure the spot policies where the real traces are; the picture lies beside the bench's files."""
    del rounds
    folder = Path(os.environ.get("DRIVETRAIN_SPOT_TRACES", "../shared/data/spot"))
    if not folder.is_dir():
        tell(f"spot: not measured, no traces in {folder}; DRIVETRAIN_SPOT_TRACES says where they are")
        return None
    whole = cache.scale >= 1
    rows = measure_spot(folder, tell, starts=24 if whole else 4, random_traces=1000 if whole else 50)
    cache.folder.mkdir(parents=True, exist_ok=True)
    target = cache.folder / "spot.svg"
    target.write_text(picture(rows), encoding="utf-8")
    tell(f"spot: picture in {target}")
    return Answer(spot_table(rows), _rows(rows))


def _tiering(cache: Cache, rounds: int) -> Answer:
    """Measure S3 schedules on generated accesses; a small size gives fewer objects."""
    del rounds
    whole = cache.scale >= 1
    found = measure_tiering(tell, objects=400 if whole else 20, days=365 if whole else 200)
    return Answer(tiering_table(found), {title: _rows(rows) for title, rows in found.items()})


def _rightsize(cache: Cache, rounds: int) -> Answer:
    """Measure requests on generated laws, and nodes where the real cluster's lists are."""
    del rounds
    folder = Path(os.environ.get("DRIVETRAIN_CLUSTER", "../shared/data/cluster"))
    whole = cache.scale >= 1
    sized = measure_requests(100 if whole else 18, 2 if whole else 1, tell)
    nodes = measure_nodes(folder, tell, every=1 if whole else 16) if folder.is_dir() else None
    if nodes is None:
        tell(f"rightsize: nodes not measured, no lists in {folder}; DRIVETRAIN_CLUSTER says where they are")
    return Answer(rightsize_table(sized, nodes), _rows([*sized, *(nodes or ())]))


def _network(cache: Cache, rounds: int) -> Answer:
    """Place graphs of every kind; a small size takes the smallest alone."""
    del rounds
    whole = cache.scale >= 1
    rows = measure_network(tell, sizes=SIZES if whole else SIZES[:1], seconds=30.0 if whole else 3.0)
    return Answer(network_table(rows), _rows(rows), unsound=any(row.faults for row in rows))


def _edge(cache: Cache, rounds: int) -> Answer:
    """Measure the edge compiler; its models are made for this."""
    rows = measure_edge(cache.folder, tell, rounds=rounds, whole=cache.scale >= 1)
    return Answer(edge_table(rows), _rows(rows))


def _loader_share(cache: Cache, rounds: int) -> Answer:
    """Measure how long training steps wait for their samples, on the CPU."""
    from tests.bench.training_share import measure_shares, share_table

    del rounds
    whole = cache.scale >= 1
    cache.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="share-", dir=cache.folder) as root:
        shares = measure_shares(Path(root) / "dataset", tell, rows=1600 if whole else 96, epochs=2 if whole else 1)
    return Answer(share_table(shares), _rows(shares))


def _mfu(cache: Cache, rounds: int) -> Answer | None:
    """Measure model FLOPs utilisation where a GPU is at hand."""
    import torch

    from tests.bench.training_share import gpu_model, measure_utilisation, utilisation_table

    del cache
    if not torch.cuda.is_available():
        tell("mfu: not measured, no CUDA device is at hand")
        return None
    rows = [
        measure_utilisation(
            gpu_model(cameras=cameras), device="cuda:0", batch=batch, steps=5 * rounds, compiled=compiled
        )
        for cameras, batch in ((1, 96), (6, 16))
        for compiled in (False, True)
    ]
    return Answer(utilisation_table(rows), _rows(rows))


def _training(cache: Cache, rounds: int) -> Answer:
    """Measure training against a plain loop; a small size leaves out several processes."""
    whole = cache.scale >= 1
    found = measure_training(tell, rounds=rounds if whole else 1, processes=(1, 2, 4) if whole else (1,))
    return Answer(training_table(found), dataclasses.asdict(found))


def _evaluation(cache: Cache, rounds: int) -> Answer:
    """Time the scorer against a plain loop, and driven worlds on Ray against one thread."""
    whole = cache.scale >= 1
    scores = measure_scores(tell, frames=2000 if whole else 200, rounds=rounds)
    drives = measure_drives(cache.folder, tell, worlds=30 if whole else 2)
    told = {"scores": dataclasses.asdict(scores), "drives": dataclasses.asdict(drives)}
    return Answer(evaluation_table(scores, drives), told, unsound=bool(scores.differ) or not drives.same)


OWN_TABLES = (
    OwnTable("catalogue", _catalogue),
    OwnTable("spot", _spot),
    OwnTable("tiering", _tiering),
    OwnTable("rightsize", _rightsize),
    OwnTable("network", _network),
    OwnTable("edge", _edge, small=False),
    OwnTable("loader-share", _loader_share, small=False),
    OwnTable("mfu", _mfu, small=False),
    OwnTable("training", _training, small=False),
    OwnTable("evaluation", _evaluation, small=False),
)
