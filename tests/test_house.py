"""The house rules that no linter holds: names, docstrings, pure modules, commands, documentation that tells the truth."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platform_lib.cli import COMMANDS, _load
from platform_lib.code_digest import _RESOURCE_SUFFIXES

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("platform_lib", "ray_jobs", "edge_compile", "cost")
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Named in the documentation as what is still to come; each leaves this list when it lands.
FUTURE: set[str] = set()
PURE_CALLS = {"open", "print", "input", "exec", "eval"}
PURE_METHODS = {"now", "utcnow", "today", "read_text", "write_text", "read_bytes", "write_bytes"}


def _sources() -> list[Path]:
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _nameless(paths: list[Path]) -> list[Path]:
    return [path for path in paths if {path.stem, path.parent.name} & NAMELESS]


def test_no_module_is_named_after_nothing() -> None:
    assert _nameless(_sources()) == []
    assert _nameless([Path("a/utils.py"), Path("helpers/a.py"), Path("a/noun.py")]) == [
        Path("a/utils.py"),
        Path("helpers/a.py"),
    ]


def test_every_package_and_module_says_what_it_is_for() -> None:
    silent = [path for path in _sources() if not ast.get_docstring(ast.parse(path.read_bytes()))]
    assert [path.relative_to(ROOT).as_posix() for path in silent] == []


def test_modules_stay_readable_in_one_sitting() -> None:
    long = {path.name: count for path in _sources() if (count := len(path.read_text().splitlines())) > 700}
    assert long == {}


def test_every_resource_counts_in_the_digest_of_the_code_beside_it() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if "__pycache__" in path.parts:  # what Python and numba keep of the code
                continue
            if path.is_file() and path.suffix != ".py" and path.name != "py.typed":
                assert path.suffix in _RESOURCE_SUFFIXES, f"{path} would change a step without anybody noticing"
                assert list(path.parent.glob("*.py")), f"{path} lies beside no module"


# --- import contracts -------------------------------------------------------------------------------------------


def _lint_imports(config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--config", str(config), "--no-cache"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_import_contracts_hold() -> None:
    done = _lint_imports(ROOT / ".importlinter")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("impure", ["platform_lib.doctor.parts", "platform_lib.home"])
def test_a_pure_module_that_starts_programs_or_reads_the_environment_breaks_its_contract(
    tmp_path: Path, impure: str
) -> None:
    config = tmp_path / "importlinter"
    text = (ROOT / ".importlinter").read_text()
    first = "    platform_lib.timeline\n"
    assert first in text
    config.write_text(text.replace(first, f"{first}    {impure}\n", 1))
    done = _lint_imports(config)
    assert done.returncode == 1
    assert f"{impure} is not allowed to import" in " ".join(done.stdout.split())


def _pure_sources() -> Iterator[Path]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    for name in parser["importlinter:contract:pure"]["source_modules"].split():
        place = ROOT.joinpath(*name.split("."))
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def _impure_calls(source: str) -> list[str]:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = [call.id for call in calls if isinstance(call, ast.Name) and call.id in PURE_CALLS]
    return names + [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in PURE_METHODS]


def test_pure_modules_touch_no_file_and_no_clock() -> None:
    sources = list(_pure_sources())
    assert sources
    assert {path.name: calls for path in sources if (calls := _impure_calls(path.read_text()))} == {}
    assert _impure_calls("from datetime import datetime\nx = datetime.now()\nopen('a')") == ["open", "now"]


# --- commands ---------------------------------------------------------------------------------------------------


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from _leaves(f"{name} {child_name}", child)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_says_what_it_does_and_speaks_json(name: str) -> None:
    command = _load(name, COMMANDS[name])
    assert COMMANDS[name].help.endswith("."), "the help page shows one sentence"
    for path, leaf in _leaves(name, command):
        assert leaf.help, f"drivetrain {path} has no help"
        options = {option for parameter in leaf.params for option in parameter.opts}
        assert "--json" in options, f"drivetrain {path} has no --json"
        for parameter in leaf.params:
            assert parameter.param_type_name == "argument" or getattr(parameter, "help", None), (
                f"drivetrain {path}: {parameter.opts} says nothing about itself"
            )


# --- documentation ----------------------------------------------------------------------------------------------


def _commands_named(text: str) -> set[str]:
    in_code = re.findall(r"`[^`\n]+`", text) + re.findall(
        r"^(?:```|~~~).*?^(?:```|~~~)", text, re.DOTALL | re.MULTILINE
    )
    return {name for code in in_code for name in re.findall(r"\bdrivetrain ([a-z][a-z-]*)", code)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_a_page_names_exists_or_is_listed_as_future(document: Path) -> None:
    assert _commands_named(document.read_text()) - set(COMMANDS) - FUTURE == set()


def test_a_future_command_that_landed_leaves_the_list() -> None:
    assert FUTURE & set(COMMANDS) == set()


def test_a_command_that_does_not_exist_would_be_found() -> None:
    text = "run `drivetrain ingest x`\n\n```bash\ndrivetrain inject x\n```\nthe drivetrain makes a noise\n"
    assert _commands_named(text) == {"ingest", "inject"}


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def _broken_links(document: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (document.parent / name).resolve() if name else document
        if not page.exists() or (anchor and anchor not in _anchors(page)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_between_pages_resolves(document: Path) -> None:
    assert _broken_links(document) == []


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# The title, here\n")
    page = tmp_path / "a.md"
    page.write_text("[1](b.md) [2](b.md#the-title-here) [3](c.md) [4](b.md#nothing) [5](https://example.org/x)\n")
    assert _broken_links(page) == ["c.md", "b.md#nothing"]


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    reached, queue = set(), [index]
    while queue:
        page = queue.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        queue += [
            (page.parent / target.partition("#")[0]).resolve()
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        ]
    assert set((ROOT / "docs").rglob("*.md")) - reached == set()
