"""`make bench ONLY=spot`: what policies pay on real traces, between Uniform Progress and the omniscient optimum.

Every policy is fitted to the 14 days before a window and run through it; windows begin evenly over what is left.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cost.spot import Greedy, Job, Pool, Trace, UniformProgress, View, fit, load_traces, omniscient, simulate
from cost.spot.model import Action, Policy

ZONES = ("us-east-1a", "us-east-1c", "us-east-1f", "us-east-2a", "us-west-2a", "us-west-2b")
SHARE = dict(zip(ZONES, (0.167, 0.467, 0.591, 0.759, 0.883, 0.905), strict=True))
"""Of points at which spot can be had, as published with 1 = available; the loader holds files against it."""
SPOT_USD, ON_DEMAND_USD = 0.918, 3.06
HISTORY_TICKS = round(14 * 86400 / 195)
SETTINGS = ((52.0, 13.0), (52.0, 3.25), (70.0, 13.0), (70.0, 3.25))


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was asked and what was found.

    Attributes:
        name: What is measured.
        asked: The most that is allowed.
        found: The value.
        runs: How many windows.
        paid_usd: Mean of ours, Uniform Progress, the optimum and greedy, where they exist.
    """

    name: str
    asked: float | None
    found: float
    runs: int
    paid_usd: tuple[float, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it is within what was asked."""
        return self.asked is None or self.found <= self.asked


@dataclass(frozen=True, slots=True)
class Paid:
    """One window's bills, in dollars, and how many of the runs missed their deadline."""

    ours: float
    progress: float
    optimum: float
    greedy: float
    missed: int


def trace_of(folder: Path, zones: tuple[str, ...], *, priced: bool = False) -> Trace:
    """Read zones as one trace, at one price or at each tick's own."""
    prices = {"prices": folder / "prices_v100.csv"} if priced else {"spot_usd_per_hour": SPOT_USD}
    return load_traces(
        {zone: folder / f"{zone}_v100_1.csv" for zone in zones},
        on_demand_usd_per_hour=ON_DEMAND_USD,
        expected_share={zone: (SHARE[zone] - 0.01, SHARE[zone] + 0.01) for zone in zones},
        **prices,  # type: ignore[arg-type]
    )


def windows(trace: Trace, job: Job, starts: int) -> Iterator[tuple[Trace, Trace]]:
    """Yield (history, window), the windows evenly over the trace behind the first history."""
    ticks = int(np.ceil(job.deadline_h * 3600 / trace.tick_s))
    for start in np.linspace(HISTORY_TICKS, trace.ticks - ticks, starts).astype(int).tolist():
        yield trace.window(start - HISTORY_TICKS, start), trace.window(start, start + ticks)


def paid(policy: Policy, window: Trace, job: Job) -> Paid:
    """Run a window under every policy."""
    runs = [simulate(each, window, job) for each in (policy, UniformProgress(), Greedy())]
    missed = sum(not run.finished for run in runs)
    return Paid(runs[0].cost_usd, runs[1].cost_usd, omniscient(window, job).cost_usd, runs[2].cost_usd, missed)


def _means(found: list[Paid]) -> tuple[float, float, float, float]:
    return tuple(
        statistics.fmean(getattr(each, name) for each in found) for name in ("ours", "progress", "optimum", "greedy")
    )  # type: ignore[return-value]


def _gap(found: list[Paid]) -> float:
    ours, progress, optimum, _ = _means(found)
    return (ours - optimum) / (progress - optimum)


def _run(trace: Trace, job: Job, starts: int) -> list[Paid]:
    return [paid(fit(history, job), window, job) for history, window in windows(trace, job, starts)]


def single_zone(folder: Path, starts: int) -> tuple[list[Row], int]:
    """Compare on each zone alone; the gap is of the mean bill over zones and windows."""
    rows, missed = [], 0
    for deadline_h, restart_min in SETTINGS:
        job = Job(deadline_h=deadline_h, restart_min=restart_min)
        found = [each for zone in ZONES for each in _run(trace_of(folder, (zone,)), job, starts)]
        missed += sum(each.missed for each in found)
        name = f"one zone, {deadline_h:g} h, restart {restart_min:g} min: gap / UP's gap"
        rows.append(Row(name, None, _gap(found), len(found), _means(found)))
    gaps = [row.found for row in rows]
    rows.append(Row("one zone: mean of the four", 0.35, statistics.fmean(gaps), 4 * rows[0].runs))
    rows.append(Row("one zone: worst of the four", 0.50, max(gaps), 4 * rows[0].runs))
    return rows, missed


def several_zones(folder: Path, starts: int) -> tuple[list[Row], int]:
    """Compare over the zones of one region at one price, against Uniform Progress over the same zones."""
    rows, missed = [], 0
    for deadline_h, asked in ((52.0, 0.90), (70.0, 0.95)):
        job = Job(deadline_h=deadline_h)
        found = []
        for region in ("us-east-1", "us-west-2"):
            zones = tuple(zone for zone in ZONES if zone[:-1] == region)
            found += _run(trace_of(folder, zones), job, starts)
        missed += sum(each.missed for each in found)
        bills = _means(found)
        name = f"zones of a region, {deadline_h:g} h, restart 13 min: cost / UP's cost"
        rows.append(Row(name, asked, bills[0] / bills[1], len(found), bills))
    return rows, missed


def three_regions(folder: Path, starts: int) -> tuple[list[Row], int]:
    """Compare over a zone of each region with the prices of each tick and a checkpoint of 50 GB."""
    rows, missed, gaps = [], 0, []
    triples = [(east, "us-east-2a", west) for east in ZONES[:3] for west in ZONES[4:]]
    for deadline_h in (52.0, 70.0):
        job = Job(deadline_h=deadline_h, checkpoint_gb=50.0)
        found = [each for zones in triples for each in _run(trace_of(folder, zones, priced=True), job, starts)]
        missed += sum(each.missed for each in found)
        gaps += found
        name = f"three regions, {deadline_h:g} h, 50 GB: gap / UP(S)'s gap"
        rows.append(Row(name, 0.45, _gap(found), len(found), _means(found)))
    return rows, missed


def foreign(folder: Path, starts: int) -> tuple[list[Row], int]:
    """Fit another zone's history, or the same zone's of another season, and compare with Uniform Progress."""
    rows, missed = [], 0
    for deadline_h, restart_min in SETTINGS:
        job = Job(deadline_h=deadline_h, restart_min=restart_min)
        found: list[Paid] = []
        for zone in ZONES:
            trace = trace_of(folder, (zone,))
            others = [trace_of(folder, (ZONES[-1 - ZONES.index(zone)],)), trace]
            for number, (_, window) in enumerate(windows(trace, job, starts)):
                history = others[number % 2].window(0, HISTORY_TICKS)
                pools = trace.pools
                policy = fit(Trace(pools, history.available, history.tick_s), job)
                found.append(paid(policy, window, job))
        missed += sum(each.missed for each in found)
        bills = _means(found)
        rows.append(
            Row(f"foreign history, {deadline_h:g} h, restart {restart_min:g} min: cost / UP's cost", 1.02,
                bills[0] / bills[1], len(found), bills)
        )  # fmt: skip
    return rows, missed


def adversarial(traces: int, seed: int = 20261130) -> int:
    """Return how many deadlines are missed on random traces that no history prepares for."""
    random, missed = np.random.default_rng(seed), 0
    policies: dict[int, tuple[Job, Policy]] = {}
    for number in range(traces):
        pools = 1 + number % 2
        if number % 25 < 2:
            job = random_job(random)
            policies[pools] = (job, fit(random_trace(random, pools, 2000), job))
        job, policy = policies[pools]
        window = random_trace(random, pools, int(np.ceil(job.deadline_h * 3600 / 195)))
        for each in (policy, UniformProgress(), Greedy()):
            missed += not simulate(each, window, job).finished
    return missed


def random_job(random: np.random.Generator) -> Job:
    """Return a feasible job, often with hardly any slack."""
    work_h, restart_min = float(random.uniform(2, 12)), float(random.choice([0.0, 3.25, 7.0, 13.0, 31.0]))
    slack_h = float(random.choice([0.0, 0.05, 0.3, 1.0, 5.0]))
    return Job(work_h=work_h, deadline_h=work_h + restart_min / 60 + slack_h, restart_min=restart_min)


def random_trace(random: np.random.Generator, pools: int, ticks: int) -> Trace:
    """Return spells of random lengths, from flicker to days."""
    columns = []
    for _ in range(pools):
        lengths = np.ceil(random.pareto(random.uniform(0.4, 2.0), ticks) * random.choice([1, 3, 20]) + 1e-9)
        states = np.arange(ticks) % 2 == random.integers(2)
        columns.append(np.repeat(states, np.minimum(lengths, ticks).astype(int))[:ticks])
    names = [Pool(f"us-east-1{'abcd'[at]}", SPOT_USD, ON_DEMAND_USD) for at in range(pools)]
    return Trace(tuple(names), np.stack(columns, axis=1))


@dataclass(slots=True)
class _Timed:
    """Passes decisions through, and keeps how long each took."""

    policy: Policy
    seconds: list[float]

    def decide(self, view: View) -> Action:
        begin = time.perf_counter()
        action = self.policy.decide(view)
        self.seconds.append(time.perf_counter() - begin)
        return action


def latency(folder: Path) -> list[Row]:
    """Measure the slowest fit of the kinds of jobs above and the decisions of one run each (compiled before)."""
    fits: list[float] = []
    decisions: list[float] = []
    zones: list[tuple[str, ...]] = [
        ("us-east-1c",),
        ("us-east-1a", "us-east-1c", "us-east-1f"),
        ("us-east-1c", "us-east-2a", "us-west-2b"),
    ]
    for chosen in zones:
        trace = trace_of(folder, chosen, priced=True)
        for deadline_h, restart_min in SETTINGS:
            job = Job(deadline_h=deadline_h, restart_min=restart_min, checkpoint_gb=50.0)
            history, window = next(windows(trace, job, 2))
            begin = time.process_time()
            policy = fit(history, job)
            fits.append(time.process_time() - begin)
            timed = _Timed(policy, [])
            simulate(timed, window, job)
            decisions += timed.seconds
    return [
        Row("slowest fit, CPU s", 5.0, max(fits), len(fits)),
        Row("decision, ms, median", 1.0, statistics.median(decisions) * 1e3, len(decisions)),
        Row("decision, ms, 99th of 100", 1.0, float(np.quantile(decisions, 0.99)) * 1e3, len(decisions)),
    ]


def measure_spot(
    folder: Path, tell: Callable[[str], None], *, starts: int = 24, random_traces: int = 1000
) -> list[Row]:
    """Measure everything; ``starts`` windows a zone."""
    rows: list[Row] = []
    missed = 0
    for part, many in (
        (single_zone, starts),
        (several_zones, starts),
        (three_regions, max(2, starts // 4)),
        (foreign, max(2, starts // 2)),
    ):
        begin = time.perf_counter()
        found, late = part(folder, many)
        rows, missed = rows + found, missed + late
        tell(f"{part.__name__}: {time.perf_counter() - begin:.0f} s")
        for row in found:
            tell(f"  {row.name}: {row.found:.3f} {tuple(round(usd, 2) for usd in row.paid_usd)}")
    runs = sum(row.runs for row in rows if row.paid_usd)
    rows.append(Row("deadlines missed, every window above", 0, missed, runs))
    rows.append(Row("deadlines missed, random adversarial traces", 0, adversarial(random_traces), random_traces))
    return rows + latency(folder)


def spot_table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| measured | asked | found | holds? | windows | $ ours / UP / optimum / greedy |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        asked = "-" if row.asked is None else f"<= {row.asked:g}"
        holds = "-" if row.asked is None else ("holds" if row.holds else "NOT MET")
        usd = " / ".join(f"{value:.2f}" for value in row.paid_usd)
        lines.append(f"| {row.name} | {asked} | {row.found:.3f} | {holds} | {row.runs} | {usd or '-'} |")
    return "\n".join(lines)
