"""The demo's stages are commands that exist, in an order in which each finds what it needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from platform_lib.cli import COMMANDS
from platform_lib.demo.stages import chain_after, demo_stages, places
from platform_lib.home import Home

HOME = Home(root=Path("/somewhere/.drivetrain"))


def stages(**changes):
    return demo_stages(HOME, **{"drives": 24, "seed": 7, "logs": (), **changes})


def test_every_stage_is_a_command_of_the_table():
    assert {stage.argv[0] for stage in stages()} <= set(COMMANDS)


def test_a_stage_reads_only_what_an_earlier_one_wrote():
    written: list[str] = []
    for stage in stages():
        for word in stage.argv[1:]:
            inside = word.startswith(str(HOME.root)) and word != str(HOME.root)
            own = word.startswith(str(stage.writes)) or str(stage.writes).startswith(word)
            assert not inside or own or any(word.startswith(path) for path in written), (stage.title, word)
        written += [str(stage.writes)]


def test_everything_is_written_inside_the_home():
    at = places(HOME)
    for name in at.__slots__:
        assert getattr(at, name).is_relative_to(HOME.root), name


def test_extra_logs_are_ingested_beside_the_synthetic_ones():
    ingest = next(stage for stage in stages(logs=(Path("/logs/a"), Path("/logs/b"))) if stage.argv[0] == "ingest")
    assert ingest.argv[2:4] == ("/logs/a", "/logs/b")


def test_the_seed_reaches_the_drives_and_the_split():
    seeded = [stage.argv[stage.argv.index("--seed") + 1] for stage in stages(seed=11) if "--seed" in stage.argv]
    assert seeded == ["11", "11"]


def test_every_stage_that_makes_an_artefact_names_its_manifest():
    assert [stage.argv[0] for stage in stages() if stage.manifest is None] == ["ingest", "verify"]
    manifests = [stage.manifest for stage in stages() if stage.manifest is not None]
    assert len(set(manifests)) == len(manifests)
    assert all(path.is_relative_to(HOME.root) for path in manifests)


def test_what_runs_beside_others_needs_nothing_of_them():
    """A stage that may begin early reads only what is made by then: up to its `after`, or by its own lane."""
    listed = stages()
    by_path = {stage.writes: number for number, stage in enumerate(listed)}
    early = [stage for stage in listed if stage.after is not None]
    assert [stage.argv[0] for stage in early] == ["compile"]
    for stage in early:
        made, at = [], stage.after
        while at is not None:
            made.append(at)
            at = listed[by_path[at]].after
        first = by_path[made[-1]]
        there = [*made, *(item.writes for item in listed[: first + 1])]
        inside = [word for word in stage.argv[1:] if word.startswith(str(HOME.root)) and word != str(HOME.root)]
        for word in inside:
            own = word.startswith(str(stage.writes)) or str(stage.writes).startswith(word)
            assert own or any(word.startswith(str(path)) for path in there), (stage.title, word)


def test_a_chain_begins_once_and_holds_those_that_each_lets_begin():
    at = places(HOME)
    listed = [replace(stage, after=at.compiled) if stage.writes == at.gates else stage for stage in stages()]
    chain = chain_after(listed, at.planner)
    assert [stage.writes for stage in chain] == [at.compiled, at.gates]
    assert chain_after(listed, at.compiled, {stage.writes for stage in chain}) == []
    assert chain_after(listed, at.dataset) == []


def test_both_evaluations_stand_beside_the_same_baseline():
    """Unnamed it would be the newest of the dataset, which the lane may find before or after this demo's own is trained."""
    named = [stage.argv[stage.argv.index("--baseline") + 1] for stage in stages() if stage.argv[0] == "evaluate"]
    assert named == [places(HOME).baseline.name] * 2
