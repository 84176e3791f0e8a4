"""Runbooks name commands that exist; the numbers of the lost region are those of the environment's file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from spoken_commands import refusal_of, targets

from cdk.config import load_environment
from cdk.operating.region_loss import Fate, lose
from platform_lib.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[3] / "cdk" / "runbooks"
PAGES = sorted(path.name for path in FOLDER.glob("*.md"))
WANTED = {
    "locked-state.md",
    "half-applied-stack.md",
    "expired-credentials.md",
    "lost-region.md",
    "restore.md",
    "spot-interruption-storm.md",
    "leaked-key.md",
}
PROGRAMS = {"drivetrain", "make", "aws", "kubectl"}
PROD = load_environment("prod", today=date(2026, 11, 30))


def commands_in(text: str) -> Iterator[str]:
    """Give every line of a fence, and every `drivetrain ...` and `make ...` between backquotes."""
    for fence in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from (line.strip() for line in fence.splitlines() if line.strip())
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"`((?:drivetrain|make) [^`]+)`", plain)


def problems(text: str) -> list[str]:
    found = []
    for line in commands_in(text):
        program, _, rest = line.partition(" ")
        if program not in PROGRAMS:
            found.append(f"{line}: is no program that is named here")
        elif program == "make" and rest.split()[0] not in targets():
            found.append(f"{line}: make has no such target")
        elif program == "drivetrain" and (refused := refusal_of(rest)) is not None:
            found.append(refused)
    return found


def test_every_runbook_is_there_and_listed() -> None:
    assert WANTED <= set(PAGES)
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "README.md").read_text()))
    assert listed == set(PAGES) - {"README.md"}


@pytest.mark.parametrize("page", sorted(WANTED))
def test_the_commands_of_a_runbook_exist(page: str) -> None:
    text = (FOLDER / page).read_text()
    assert any(line.startswith(("drivetrain", "make")) for line in commands_in(text))
    assert problems(text) == []
    assert "**You see**" in text or "On paper" in text
    assert "**Done when**" in text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("```sh\ndrivetrain infra restore-all\n```", "No such command"),
        ("```sh\ndrivetrain infra unlock --stack s\n```", "--lock-id"),
        ("run `make drilll ENV=prod`", "make has no such target"),
        ("```sh\nrm -rf /\n```", "is no program"),
        ("run `drivetrain metadata restore`", "FOLDER"),
    ],
)
def test_a_command_that_is_not_is_found(text: str, what: str) -> None:
    (found,) = problems(text)
    assert what in found


def test_the_page_of_the_lost_region_has_the_environments_numbers() -> None:
    text = (FOLDER / "lost-region.md").read_text()
    loss = lose(PROD, "us-east-1")

    def minutes(value: int | None) -> str:
        return "unknown" if value is None else str(value)

    for item in loss.parts:
        row = f"| {item.name} | {item.fate.value} | {minutes(item.lost_min)} | {minutes(item.back_min)} | {item.how} |"
        assert row in text
    for place in loss.capacity:
        assert f"| {place.region} | {place.nodes} | {place.accelerators} |" in text
    left = sum(item.accelerators for item in loss.capacity if not item.gone)
    total = sum(item.accelerators for item in loss.capacity)
    assert f"{left} of {total} accelerators are left, {100 * left / total:.0f} %" in text
    (pool,) = [item for item in PROD.pools if item.name == "train-h100-west"]
    assert f"those {pool.maximum} nodes cost {pool.maximum * 55.04:.2f} USD" in text


def test_what_has_no_copy_is_lost_and_what_has_one_is_not() -> None:
    loss = lose(PROD, "us-east-1")
    assert set(loss.unprotected) == {
        "bucket derived",
        "bucket checkpoints",
        "key that signs releases",
        "terraform's state",
    }
    bare = PROD.model_copy(update={"database": PROD.database.model_copy(update={"backup_region": "us-east-1"})})
    assert "metadata database" in lose(bare, "us-east-1").unprotected
    west = {item.name: item.fate for item in lose(PROD, "us-west-2").parts}
    assert west["metadata database"] is Fate.KEPT
    assert west["bucket derived"] is Fate.KEPT


def test_one_region_alone_has_nothing_elsewhere_and_an_unknown_one_is_refused() -> None:
    dev = load_environment("dev", today=date(2026, 11, 30))
    parts = {item.name: item for item in lose(dev, "us-east-1").parts}
    assert parts["cluster us-east-1"].how.endswith("no cluster runs elsewhere")
    assert parts["images"].fate is Fate.MADE_ANEW
    with pytest.raises(ConfigError, match="has nothing in 'eu-west-1'"):
        lose(PROD, "eu-west-1")
