"""``python -m tests.bench``: measures what is asked for and prints one table.

Exit status 1 where a line beats its floor or gives other values than its peer: the measurement is wrong then. A line
that is slower than asked says so, and is no error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from platform_lib.errors import PlatformError
from tests.bench.catalog_latency import ASKED, Measured, latency_table, measure_fleet
from tests.bench.files import Cache
from tests.bench.fleet import Fleet
from tests.bench.fleet_rows import FULL_DRIVES
from tests.bench.measure import BenchError, measure
from tests.bench.rightsize import Nodes, Sized, measure_nodes, measure_requests, rightsize_table
from tests.bench.side import Task
from tests.bench.spot import Row, measure_spot, spot_table
from tests.bench.spot_picture import picture
from tests.bench.table import document, table
from tests.bench.verdict import Line
from tests.bench.works import CATALOG_KEY, RIGHTSIZE_KEY, SPOT_KEY, STORE_KEY, WORKS, Work

ROUNDS = 5


def main(arguments: list[str] | None = None, works: Sequence[Work] = WORKS) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help="works whose key contains one of these words, comma-separated")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each side runs (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    options = parser.parse_args(arguments)
    words = [word for word in options.only.split(",") if word]
    by_key: dict[str, Work | None] = {
        **{work.key: work for work in works},
        STORE_KEY: None,
        CATALOG_KEY: None,
        SPOT_KEY: None,
        RIGHTSIZE_KEY: None,
    }
    chosen = {key: work for key, work in by_key.items() if not words or any(word in key for word in words)}
    if not chosen or options.rounds < 1:
        parser.error(f"at least one round, and works of these: {', '.join(by_key)}")
    try:
        cache = Cache.of(dict(os.environ))
        with_catalogue = CATALOG_KEY in chosen
        with_spot, with_sizes = SPOT_KEY in chosen, RIGHTSIZE_KEY in chosen
        for key in (CATALOG_KEY, SPOT_KEY, RIGHTSIZE_KEY):
            chosen.pop(key, None)
        lines, conditions = bench(chosen, cache, options.rounds)
        catalogue = _ask_catalogue(cache) if with_catalogue else None
        spot = _ask_spot(cache) if with_spot else None
        sizes = _ask_rightsize(cache) if with_sizes else None
    except (PlatformError, BenchError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if lines:
        sys.stdout.write(report(lines))
    if catalogue is not None:
        sys.stdout.write("\n" + latency_table(catalogue) + "\n")
    if spot is not None:
        sys.stdout.write("\n" + spot_table(spot) + "\n")
    if sizes is not None:
        sys.stdout.write("\n" + rightsize_table(*sizes) + "\n")
    if options.json is not None:
        told = document(lines, conditions) | {
            "catalogue": catalogue and dataclasses.asdict(catalogue),
            "spot": spot and [dataclasses.asdict(row) for row in spot],
            "rightsize": sizes and [dataclasses.asdict(row) for part in sizes for row in part or ()],
        }
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 1 if any(line.broken for line in lines) else 0


def bench(works: dict[str, Work | None], cache: Cache, rounds: int) -> tuple[list[Line], dict[str, object]]:
    """Measure works one after the other, the object store's bytes where there is none; tell standard error of each."""
    conditions: dict[str, object] = {"rounds": rounds, "scale": cache.scale, "load_at_start": os.getloadavg()}
    lines: list[Line] = []
    for key, work in works.items():
        begin = time.perf_counter()
        if work is None:
            from tests.bench.object_store import measure_one_topic

            lines.append(measure_one_topic(cache.need("twenty.mcap")))
        else:
            lines += measure(work, _task(work, cache), rounds)
        sys.stderr.write(f"{key}: {time.perf_counter() - begin:.0f} s, load {os.getloadavg()[0]:.1f}\n")
    return lines, conditions | {"load_at_end": os.getloadavg()}


def _ask_catalogue(cache: Cache) -> Measured:
    """Ask the ten questions of a catalogue a tenth of the full size; it is made for this and deleted."""
    asked = ASKED if cache.scale >= 1 else 30
    fleet = Fleet(max(1000, int(FULL_DRIVES / 10 * cache.scale)))
    cache.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="catalogue-", dir=cache.folder, ignore_cleanup_errors=True) as root:
        Path(root).chmod(0o755)  # as root, the server runs as another account
        return measure_fleet(Path(root), fleet, lambda text: _tell(f"{CATALOG_KEY}: {text}"), asked=asked)


def _ask_spot(cache: Cache) -> list[Row] | None:
    """Measure the spot policies where the real traces are; the picture lies beside the bench's files."""
    folder = Path(os.environ.get("DRIVETRAIN_SPOT_TRACES", "../shared/data/spot"))
    if not folder.is_dir():
        _tell(f"{SPOT_KEY}: not measured, no traces in {folder}; DRIVETRAIN_SPOT_TRACES says where they are")
        return None
    whole = cache.scale >= 1
    rows = measure_spot(folder, _tell, starts=24 if whole else 4, random_traces=1000 if whole else 50)
    cache.folder.mkdir(parents=True, exist_ok=True)
    target = cache.folder / "spot.svg"
    target.write_text(picture(rows), encoding="utf-8")
    _tell(f"{SPOT_KEY}: picture in {target}")
    return rows


def _ask_rightsize(cache: Cache) -> tuple[list[Sized], list[Nodes] | None]:
    """Measure requests on generated laws, and nodes where the real cluster's lists are."""
    folder = Path(os.environ.get("DRIVETRAIN_CLUSTER", "../shared/data/cluster"))
    whole = cache.scale >= 1
    sized = measure_requests(100 if whole else 18, 2 if whole else 1, _tell)
    if folder.is_dir():
        return sized, measure_nodes(folder, _tell, every=1 if whole else 16)
    _tell(f"{RIGHTSIZE_KEY}: nodes not measured, no lists in {folder}; DRIVETRAIN_CLUSTER says where they are")
    return sized, None


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _task(work: Work, cache: Cache) -> Task:
    database = None if work.database is None else cache.need(work.database)
    return Task(cache.need(work.log), work.threads, cache.folder, work.topics, database)


def report(lines: list[Line]) -> str:
    """Return the table, and under it what is wrong with it."""
    text = table(lines) + "\n"
    for line in lines:
        if line.differences:
            shown = "\n  ".join(line.differences[:5])
            text += f"\n{line.key}: {len(line.differences)} of {line.compared} differ from {line.peer}:\n  {shown}\n"
        elif line.broken:
            text += f"\n{line.key}: {line.ours.value:.3f} {line.unit} is less than the least there is to do ({line.bottom:.3f})\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
