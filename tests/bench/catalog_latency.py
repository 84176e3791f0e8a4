"""The ten questions asked of a big catalogue: how long each takes, by the functions that the commands call."""

from __future__ import annotations

import gc
import hashlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, event

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.cells import Near
from platform_lib.catalog.clips import CLIP_NS
from platform_lib.catalog.filters import ClipFilter, DriveFilter, Key
from platform_lib.catalog.finding import Finder
from platform_lib.catalog.lineage import Lineage
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import open_home
from tests.bench import fleet_rows as made
from tests.bench.fleet import Fleet, fill, size_bytes

LIMIT_S = 0.050
"""What 99 of 100 have to stay under."""
ASKED = 300
_BEFORE = 100
"""So often each question is asked first, with other parameters: a catalogue that is in use, not one that was just started."""
_PAGE = 50


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one question took, without the time in which it was ready to run and had no CPU.

    Attributes:
        p99_wall_s: By the clock on the wall; the same on a machine that has nothing else to do.
        rows: Mean number of rows in an answer: a question that finds nothing is quick and says little.
        plans: What the server did for its slowest answer, one text a statement.
    """

    question: str
    asked: int
    p50_s: float
    p99_s: float
    worst_s: float
    p99_wall_s: float
    rows: float
    plans: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether it is fast enough."""
        return self.p99_s < LIMIT_S and self.rows > 0


Ask = Callable[[random.Random], Callable[[], int]]
"""Draws parameters, and returns what asks with them and says how many rows came."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Parameters of questions about a fleet; half of them are of its crowded city."""

    fleet: Fleet
    rng: random.Random

    def number(self) -> int:
        """A drive."""
        return self.rng.randrange(self.fleet.drives) + 1

    def drive_id(self) -> str:
        """A drive."""
        return self.fleet.drive_id(self.number())

    def vehicle(self) -> str:
        """A vehicle."""
        return f"v{self.rng.randrange(self.fleet.vehicles):05d}"

    def after(self) -> Key | None:
        """Where a page begins: the first one, or one anywhere in the middle."""
        moment = made.T0_NS + self.rng.randrange(made.DRIVES_A_VEHICLE) * made.DRIVE_EVERY_NS
        return (moment, self.number()) if self.rng.random() < 0.5 else None

    def near(self) -> Near:
        """A place in a city."""
        latitude, longitude = made.CITIES[0 if self.rng.random() < 0.5 else self.rng.randrange(1, len(made.CITIES))]
        latitude += (self.rng.random() - 0.5) * made.HIGH_DEG
        longitude += (self.rng.random() - 0.5) * made.WIDE_DEG
        return Near(latitude, longitude, self.rng.choice((100.0, 250.0, 1000.0)))

    def content(self) -> str:
        """The digest of a file."""
        return hashlib.sha256(f"file {self.number() - 1} {self.rng.randrange(made.FILES)}".encode()).hexdigest()

    def dataset(self) -> str:
        """The digest of a dataset."""
        return hashlib.sha256(f"dataset {self.rng.randrange(made.DATASETS)}".encode()).hexdigest()

    def state(self) -> str | None:
        """A state, or none."""
        return self.rng.choice((None, "unknown", "present", "blurred", "none_present"))

    def odd_cell(self) -> str:
        """An ODD cell."""
        return f"weather={self.rng.choice(made.WEATHERS)}, event={self.rng.choice(made.EVENTS)}"


def questions(engine: Engine, fleet: Fleet) -> dict[str, Ask]:
    """Return the ten questions."""
    finder, lineage = Finder(engine), Lineage(engine)

    def drives(filter_of: Callable[[Draw], DriveFilter]) -> Ask:
        def ask(rng: random.Random) -> Callable[[], int]:
            draw = Draw(fleet, rng)
            which, after = filter_of(draw), draw.after()
            return lambda: len(finder.drives(which, limit=_PAGE, after=after).drives)

        return ask

    def clips(filter_of: Callable[[Draw], ClipFilter], after_of: Callable[[Draw], Key | None] = Draw.after) -> Ask:
        def ask(rng: random.Random) -> Callable[[], int]:
            draw = Draw(fleet, rng)
            which, after = filter_of(draw), after_of(draw)
            return lambda: len(finder.clips(which, limit=_PAGE, after=after).clips)

        return ask

    def one_drive(rng: random.Random) -> Callable[[], int]:
        name = Draw(fleet, rng).drive_id()
        return lambda: len(finder.drive(name).files)

    def content(rng: random.Random) -> Callable[[], int]:
        digest = Draw(fleet, rng).content()
        return lambda: int(finder.content(digest) is not None)

    def saw(rng: random.Random) -> Callable[[], int]:
        name, at = Draw(fleet, rng).drive_id(), rng.randrange(made.CLIPS) * CLIP_NS

        def ask() -> int:
            found = finder.drive(name)
            seen = finder.saw_clip(name, (found.start_ns or 0) + at)
            return 1 + len(seen) + len(lineage.descendants([item.file_sha256 for item in found.files]))

        return ask

    return {
        "newest drives, any or in one state": drives(lambda draw: DriveFilter(pii_state=draw.state())),
        "drives of a vehicle since a time": drives(
            lambda draw: DriveFilter(vehicle=draw.vehicle(), since_ns=made.T0_NS)
        ),
        "drives near a place": drives(lambda draw: DriveFilter(near=draw.near())),
        "one drive with its files": one_drive,
        "a content by its digest": content,
        "clips of a drive": clips(lambda draw: ClipFilter(drive=draw.drive_id()), lambda _: None),
        "clips in an ODD cell": clips(lambda draw: ClipFilter(odd_cell=draw.odd_cell())),
        "clips of a tag, or near a place": clips(
            lambda draw: (
                ClipFilter(tag=draw.rng.choice(made.TAGS)) if draw.rng.random() < 0.5 else ClipFilter(near=draw.near())
            )
        ),
        "clips of a dataset": clips(
            lambda draw: ClipFilter(dataset=draw.dataset()),
            lambda draw: (draw.number(), 0) if draw.rng.random() < 0.5 else None,
        ),
        "what saw a clip": saw,
    }


def measure_questions(engine: Engine, fleet: Fleet, *, asked: int = ASKED, seed: int = 11) -> list[Latency]:
    """Ask each question with parameters drawn anew each time, after others of its kind."""
    asks = questions(engine, fleet).items()
    before = random.Random(seed + 1)  # noqa: S311 - no secret
    for _, ask in asks:
        for _ in range(min(_BEFORE, asked)):
            ask(before)()
    gc.collect()
    gc.freeze()  # what was imported is not looked through again in the middle of a question
    try:
        return [_measure(engine, name, ask, asked, random.Random(seed)) for name, ask in asks]  # noqa: S311 - no secret
    finally:
        gc.unfreeze()


def _measure(engine: Engine, name: str, ask: Ask, asked: int, rng: random.Random) -> Latency:
    asks = [ask(rng) for _ in range(asked)]
    with engine.connect() as connection:  # the pool's only one: it is what the questions are asked on
        server = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
    took: list[tuple[float, float, int]] = []
    rows = 0
    for number, one in enumerate(asks):
        waited, begin = _waited_s(server), time.perf_counter()
        rows += one()
        wall = time.perf_counter() - begin
        took.append((max(0.0, wall - (_waited_s(server) - waited)), wall, number))
    took.sort()
    nth = min(len(took) - 1, int(len(took) * 0.99))
    walls = sorted(wall for _, wall, _ in took)
    return Latency(
        name,
        asked,
        took[len(took) // 2][0],
        took[nth][0],
        took[-1][0],
        walls[nth],
        rows / asked,
        plans_of(engine, asks[took[-1][2]]),
    )


def _waited_s(server: int) -> float:
    """Return how long this thread and the server's process were ready and had no CPU. Source: proc(5), schedstat."""
    places = (f"/proc/self/task/{threading.get_native_id()}/schedstat", f"/proc/{server}/schedstat")
    return sum(int(Path(place).read_text().split()[1]) for place in places) / 1e9


def plans_of(engine: Engine, one: Callable[[], int]) -> tuple[str, ...]:
    """Ask again and return what the server did for each statement."""
    statements: list[tuple[str, object]] = []

    def listen(_c: object, _cursor: object, statement: str, parameters: object, _x: object, _many: object) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", listen)
    try:
        one()
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    plans = []
    with engine.connect() as connection:
        for statement, parameters in statements:
            if statement.startswith("SET "):  # how the question is asked; it holds for what follows here too
                connection.exec_driver_sql(statement)
                continue
            rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)  # type: ignore[arg-type]  # as they were sent
            plans.append("\n".join(row[0] for row in rows))
    return tuple(plans)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was asked of one catalogue.

    Attributes:
        sizes: Table -> bytes with its indexes.
        filled_s: How long its rows and indexes took to write.
    """

    fleet: Fleet
    latencies: tuple[Latency, ...]
    sizes: dict[str, int]
    filled_s: float


def measure_fleet(root: Path, fleet: Fleet, tell: Callable[[str], None], *, asked: int = ASKED) -> Measured:
    """Make a catalogue of this size in a home of its own at `root`, and ask it everything."""
    with embedded_postgres(open_home(root)) as uri, Catalog(uri) as catalog:
        begin = time.perf_counter()
        fill(catalog.engine, fleet, tell)
        filled_s = time.perf_counter() - begin
        sizes = size_bytes(catalog.engine)
        return Measured(fleet, tuple(measure_questions(catalog.engine, fleet, asked=asked)), sizes, filled_s)


def latency_table(found: Measured) -> str:
    """Return the answers as a Markdown table."""
    heads = ("question", "p50 ms", "p99 ms (asked)", "p99 by the wall", "rows", "holds?")
    rows = [heads]
    for item in found.latencies:
        p50, p99, wall = (f"{value * 1e3:.1f}" for value in (item.p50_s, item.p99_s, item.p99_wall_s))
        holds = "holds" if item.holds else "NOT MET"
        rows.append((item.question, p50, f"{p99} (< {LIMIT_S * 1e3:.0f})", wall, f"{item.rows:.1f}", holds))
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    size = f"{found.fleet.drives:,} drives, {found.fleet.files:,} files, {found.fleet.clips:,} clips"
    return f"{size}, {found.sizes['together'] / 1e9:.1f} GB; each asked {found.latencies[0].asked} times\n" + "\n".join(
        lines
    )
