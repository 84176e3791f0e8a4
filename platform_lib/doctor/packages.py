"""Python and its packages, read from their metadata alone: nothing is imported, so the answer takes milliseconds."""

from __future__ import annotations

import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from platform_lib.doctor.model import Finding

CHECKOUT = Path(__file__).resolve().parents[2]
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[(?P<extras>[^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*["'](?P<extra>[^"']+)["']""")


@dataclass(frozen=True, slots=True)
class _Extra:
    disables: str
    demo: bool


_EXTRAS: Mapping[str, _Extra] = {
    "base": _Extra("every command", demo=True),
    "data": _Extra("simulate, log, ingest, drives, query, dataset, and with them train, evaluate and demo", demo=True),
    "train": _Extra("train, evaluate, demo", demo=True),
    "edge-open": _Extra("compile, bundle, demo", demo=True),
    "edge": _Extra("compile for Qualcomm chips, demo", demo=True),
    "infra": _Extra("infra, make plan and apply, the clusters' manifests, cost prices refresh", demo=False),
    "dev": _Extra("make test, make lint", demo=False),
}


def check_packages(checkout: Path = CHECKOUT) -> Iterator[Finding]:
    """Judge Python's version and each extra's packages.

    Args:
        checkout: Folder where pyproject.toml and constraints.txt may lie; an installed wheel has neither, then the
            package's own metadata names its requirements and versions are not compared.
    """
    yield _python()
    requirements = read_requirements(checkout)
    pins = read_pins(checkout / "constraints.txt")
    for extra, about in _EXTRAS.items():
        yield _extra(extra, about, requirements.get(extra, ()), pins)


def read_requirements(checkout: Path) -> dict[str, tuple[str, ...]]:
    """Extra -> names of the distributions it asks for; ``base`` holds what every installation needs."""
    pyproject = checkout / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text())["project"]
        lines = {"base": project["dependencies"], **project["optional-dependencies"]}
        return {extra: _names(texts) for extra, texts in lines.items()}
    found: dict[str, list[str]] = {"base": []}
    for text in metadata.requires("drivetrain") or ():
        marker = _EXTRA.search(text)
        found.setdefault(marker["extra"] if marker else "base", []).append(text)
    return {extra: _names(texts) for extra, texts in found.items()}


def read_pins(constraints: Path) -> dict[str, str]:
    """Normalised name -> version from a constraints file; empty where there is none."""
    if not constraints.is_file():
        return {}
    lines = (line.partition("#")[0].strip() for line in constraints.read_text().splitlines())
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {normalise(name): version for name, _, version in pairs}


def normalise(name: str) -> str:
    """Return a distribution's name as indexes compare it. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_version(name: str) -> str | None:
    """Return a distribution's version without its local part (``2.13.0+cpu`` -> ``2.13.0``), None when absent."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def _names(requirements: list[str]) -> tuple[str, ...]:
    matches = (_REQUIREMENT.match(text) for text in requirements)
    return tuple(dict.fromkeys(match["name"] for match in matches if match and match["name"] != "drivetrain"))


def _python() -> Finding:
    version = platform.python_version()
    if version.startswith("3.11."):
        return Finding("python", "python", "ok", f"{version} at {sys.executable}", demo=True)
    return Finding(
        "python",
        "python",
        "missing",
        f"{version} at {sys.executable}; 3.11 is what the pinned packages were tested with",
        disables="installation: the package asks for 3.11",
        remedy="make clean && make install PYTHON=/path/to/python3.11",
        demo=True,
    )


def _extra(extra: str, about: _Extra, names: tuple[str, ...], pins: Mapping[str, str]) -> Finding:
    versions = {name: installed_version(name) for name in names}
    absent = [name for name, version in versions.items() if version is None]
    other = [
        f"{name} {version} (tested: {pins[normalise(name)]})"
        for name, version in versions.items()
        if version is not None and version != pins.get(normalise(name), version).partition("+")[0]
    ]
    target = "." if extra == "base" else f"'.[{extra}]'"
    remedy = f"in the checkout: pip install -c constraints.txt -e {target}, or make install for everything"
    count = f"{len(names) - len(absent)} of {len(names)} packages"
    if absent:
        detail = f"{count}; missing: {', '.join(absent)}"
        return Finding("packages", extra, "missing", detail, about.disables, remedy, demo=about.demo)
    if other:
        return Finding("packages", extra, "warning", f"{count}; {', '.join(other)}", remedy=remedy, demo=about.demo)
    compared = "as pinned" if pins else "no constraints.txt at hand to compare versions with"
    return Finding("packages", extra, "ok", f"{count}, {compared}", demo=about.demo)
