"""``python -m tests.bench``: measures what is asked for and prints one table.

Exit status 1 where a line beats its floor or gives other values than its peer: the measurement is wrong then. A line
that is slower than asked says so, and is no error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from platform_lib.errors import PlatformError
from tests.bench.files import Cache
from tests.bench.measure import BenchError, measure
from tests.bench.own_tables import OWN_TABLES, Answer, tell
from tests.bench.side import Task
from tests.bench.table import document, table
from tests.bench.verdict import Line
from tests.bench.works import STORE_KEY, WORKS, Work

ROUNDS = 5


def main(arguments: list[str] | None = None, works: Sequence[Work] = WORKS) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help="works whose key contains one of these words, comma-separated")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each side runs (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    options = parser.parse_args(arguments)
    words = [word for word in options.only.split(",") if word]
    own = {table.key: table for table in OWN_TABLES}
    by_key: dict[str, Work | None] = {**{work.key: work for work in works}, STORE_KEY: None}
    chosen = [key for key in (*by_key, *own) if not words or any(word in key for word in words)]
    if not chosen or options.rounds < 1:
        parser.error(f"at least one round, and works of these: {', '.join((*by_key, *own))}")
    answers: dict[str, Answer | None] = {}
    try:
        cache = Cache.of(dict(os.environ))
        lines, conditions = bench({key: by_key[key] for key in chosen if key in by_key}, cache, options.rounds)
        for key in chosen:
            if key in own and (words or own[key].small or cache.scale >= 1):
                answers[key] = own[key].ask(cache, options.rounds)
    except (PlatformError, BenchError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    found = {key: answer for key, answer in answers.items() if answer is not None}
    sys.stdout.write(report(lines) if lines else "")
    sys.stdout.writelines(f"\n{answer.text}\n" for answer in found.values())
    if options.json is not None:
        told = document(lines, conditions) | dict.fromkeys(own) | {key: answer.told for key, answer in found.items()}
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 1 if any(line.broken for line in lines) or any(answer.unsound for answer in found.values()) else 0


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
        tell(f"{key}: {time.perf_counter() - begin:.0f} s, load {os.getloadavg()[0]:.1f}")
    return lines, conditions | {"load_at_end": os.getloadavg()}


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
