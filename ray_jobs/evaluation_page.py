"""The page of all evaluations: history, what got worse, and how the worst drives ended. One file, nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from platform_lib.evidence import FailedEpisode, Interval
from platform_lib.home import Home
from platform_lib.storage import publish_bytes
from ray_jobs.checkpoint_queue import Claim, waiting_checkpoints
from ray_jobs.evaluation_history import (
    JUDGED,
    Change,
    NotScored,
    Scored,
    before_of,
    changes,
    history,
    not_scored,
    page_path,
)
from ray_jobs.evaluation_queue import Waiting, waiting
from ray_jobs.films import film

_FILMS = 6
_CHANGES = 24
_CHARTS = (
    ("open_loop", "ade_m", "mean displacement over 3 s, m"),
    ("pseudo_closed_loop", "epdms", "EPDMS, of 1"),
    ("closed_loop", "at_fault_rate", "drives with a collision by own fault, share"),
)
_NAMES = {
    "ade_m": "ADE, m",
    "collision_rate": "collision rate",
    "epdms": "EPDMS",
    "at_fault_rate": "at-fault rate",
    "progress_ratio": "progress / expert",
}
_LOOPS = {"open_loop": "open loop", "pseudo_closed_loop": "pseudo closed loop", "closed_loop": "closed loop"}
_PLANNERS = {"camera": "camera", "ego_only": "ego-only", "constant_velocity": "constant velocity"}
_WIDE, _HIGH, _LEFT, _TOP, _BOTTOM = 520, 210, 46, 14, 26


def write_page(home: Home) -> Path:
    """Write the page anew from the history, the queue and the files of failed drives."""
    text = render(history(home), waiting(home), waiting_checkpoints(home), not_scored(home))
    path = page_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_bytes(path, text.encode())
    return path


def render(
    all_entries: Sequence[Scored],
    queue: Sequence[Waiting],
    held: Sequence[Claim] = (),
    unscored: Sequence[NotScored] = (),
) -> str:
    """Return the page: finished runs first, checkpoints of trainings in a section of their own."""
    entries = [entry for entry in all_entries if entry.checkpoint is None]
    checkpoints = [entry for entry in all_entries if entry.checkpoint is not None]
    template = resources.files("ray_jobs").joinpath("evaluation_page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    compared = [(entry, before_of(entries, place)) for place, entry in enumerate(entries)]
    latest = compared[-1] if compared else None
    found = () if latest is None or latest[1] is None else changes(latest[1], latest[0])
    return environment.from_string(
        template
    ).render(
        cards=_cards(entries, queue, found),
        charts=[(title, Markup(_chart(entries, loop, metric))) for loop, metric, title in _CHARTS],  # noqa: S704 - own SVG
        planners=list(_PLANNERS.items()),
        rows=[_row(entry, before) for entry, before in reversed(compared)],
        compared=None if latest is None else _told(latest[0], latest[1]),
        changes=[_change(item) for item in found[:_CHANGES]],
        changes_left=max(0, len(found) - _CHANGES),
        latest=None if latest is None else latest[0].run,
        failures=0 if latest is None else len(latest[0].failures),
        films=[] if latest is None else _films(latest[0]),
        queue=queue,
        trainings=[_training(name, checkpoints) for name in dict.fromkeys(one.run for one in reversed(checkpoints))],
        held=len(held),
        unscored=unscored,
    )


def _training(run: str, checkpoints: Sequence[Scored]) -> dict[str, object]:
    """Return what the page says of one training: its curve, and its checkpoints, the newest first."""
    own = [entry for entry in checkpoints if entry.run == run]
    rows = [(entry, _row(entry, before_of(own, place))) for place, entry in enumerate(own)]
    return {
        "run": run,
        "chart": Markup(_chart(own, *_CHARTS[0][:2])),  # noqa: S704 - own SVG
        "rows": [{**row, "step": entry.step, "checkpoint": entry.checkpoint} for entry, row in reversed(rows)],
    }


def _cards(entries: Sequence[Scored], queue: Sequence[Waiting], found: Sequence[Change]) -> list[tuple[str, str]]:
    worse = sum(item.worse and item.beyond_doubt for item in found)
    cards = [(str(len(entries)), "evaluations"), (str(len(queue)), "runs waiting to be scored")]
    if entries:
        cards.append((str(worse), "figures worse beyond doubt, latest against the one before"))
        for loop, metric in (("open_loop", "ade_m"), ("pseudo_closed_loop", "epdms")):
            row = entries[-1].value(loop, metric)
            cards.append(
                ("unknown" if row is None else f"{row.metrics[metric].value:.3f}", f"{_NAMES[metric]}, latest")
            )
    return cards


def _told(entry: Scored, before: Scored | None) -> str:
    if before is None:
        return f"'{entry.run}' has nothing to be compared with: no other weights on the same data by the same scorer."
    return f"'{entry.run}' against '{before.run}', on the same data by the same scorer; a figure counts as doubtless where the two 95 % intervals are apart."


def _row(entry: Scored, before: Scored | None) -> dict[str, object]:
    found = () if before is None else changes(before, entry)
    worse = sum(item.worse and item.beyond_doubt for item in found)
    return {
        "when": entry.created_utc.strftime("%Y-%m-%d %H:%M"),
        "run": entry.run,
        "dataset": f"{entry.dataset} {entry.dataset_sha256[:8]}",
        "scorer": entry.scorer_sha256[:8],
        "figures": [_figure(entry, loop, metric) for loop, metric, _ in _CHARTS],
        "others": [_figure(entry, "open_loop", "ade_m", planner) for planner in ("ego_only", "constant_velocity")],
        "failures": len(entry.failures),
        "against": "nothing comparable" if before is None else f"{before.title}: {worse} worse",
        "state": "not_run" if before is None else "fail" if worse else "pass",
        "champion": entry.champion,
    }


def _figure(entry: Scored, loop: str, metric: str, planner: str = JUDGED) -> tuple[str, str]:
    row = entry.value(loop, metric, planner=planner)
    if row is None:
        return "not run", ""
    value = row.metrics[metric]
    bounds = "" if value.low is None or value.high is None else f"{value.low:.2f} to {value.high:.2f}"
    return f"{value.value:.3f}", bounds


def _change(item: Change) -> dict[str, str]:
    word = ("worse" if item.worse else "better") + ("" if item.beyond_doubt else ", within noise")
    state = "not_run" if not item.beyond_doubt else "fail" if item.worse else "pass"
    return {
        "what": f"{_LOOPS[item.loop]}, {_NAMES[item.metric]}",
        "slice": item.slice.replace("_", " "),
        "before": f"{item.before:.3f}",
        "now": f"{item.now:.3f}",
        "word": word,
        "state": state,
    }


def _films(entry: Scored) -> list[dict[str, object]]:
    """Return the worst drives that were written as files and still lie there."""
    found: list[dict[str, object]] = []
    for one in entry.failures:
        path = None if one.file is None else entry.folder / one.file
        if path is None or not path.is_file() or len(found) == _FILMS:
            continue
        data = film(path)
        if data is not None:
            found.append(_film(entry, one, data))
    return found


def _film(entry: Scored, one: FailedEpisode, data: bytes) -> dict[str, object]:
    return {
        "webp": base64.b64encode(data).decode(),
        "title": one.what,
        "caption": f"{one.event.replace('_', ' ')}, {one.weather}, after {one.after_s:.1f} s; seed {one.seed}",
        "file": f"{entry.run}/{entry.folder.name}/{one.file}",
    }


def _chart(entries: Sequence[Scored], loop: str, metric: str) -> str:
    """Draw one figure of every evaluation in order: a dot with its interval for each planner that has it."""
    drawn: list[tuple[int, str, Interval]] = []
    for place, entry in enumerate(entries):
        for planner in _PLANNERS:
            row = entry.value(loop, metric, planner=planner)
            if row is not None:
                drawn.append((place, planner, row.metrics[metric]))
    if not drawn:
        return f'<svg viewBox="0 0 {_WIDE} 40"><text x="8" y="24">not run</text></svg>'
    top = max(max(v.value, v.high or v.value) for _, _, v in drawn) * 1.08 or 1.0

    def at_y(value: float) -> float:
        return _HIGH - _BOTTOM - max(0.0, value) / top * (_HIGH - _BOTTOM - _TOP)

    step = (_WIDE - _LEFT - 20) / max(1, len(entries))
    parts = [
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDE - 8}" y1="{at_y(v):.1f}" y2="{at_y(v):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{at_y(v) + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in (0.0, top / 2, top)
    ]
    for number, planner in enumerate(_PLANNERS):
        own = [(place, value) for place, name, value in drawn if name == planner]
        x_of = [_LEFT + step * (place + 0.5) + 5.0 * (number - 1) for place, _ in own]
        line = " ".join(f"{x:.1f},{at_y(value.value):.1f}" for x, (_, value) in zip(x_of, own, strict=True))
        parts.append(f'<polyline class="{planner}" points="{line}"/>')
        for x, (place, value) in zip(x_of, own, strict=True):
            if value.low is not None and value.high is not None:
                parts.append(
                    f'<line class="bar {planner}" x1="{x:.1f}" x2="{x:.1f}" y1="{at_y(value.low):.1f}" y2="{at_y(value.high):.1f}"/>'
                )
            told = escape(f"{entries[place].title}, {_PLANNERS[planner]}: {value.value:.3f}")
            parts.append(
                f'<circle class="{planner}" cx="{x:.1f}" cy="{at_y(value.value):.1f}" r="3.5"><title>{told}</title></circle>'
            )
    every = max(1, len(entries) // 8)
    parts += [
        f'<text class="tick" x="{_LEFT + step * (place + 0.5):.1f}" y="{_HIGH - 8}" text-anchor="middle">{escape(_tick(entry))}</text>'
        for place, entry in enumerate(entries)
        if place % every == 0
    ]
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img">{"".join(parts)}</svg>'


def _tick(entry: Scored) -> str:
    return entry.run[:14] if entry.checkpoint is None else f"step {entry.step}"
