from __future__ import annotations

from pathlib import Path

import pytest

from platform_lib.doctor import packages
from platform_lib.doctor.model import Finding
from platform_lib.doctor.packages import check_packages, normalise, read_pins, read_requirements

PYPROJECT = """
[project]
name = "drivetrain"
dependencies = ["rich", "typer"]
[project.optional-dependencies]
data = ["numpy", "psycopg[binary]", "no-such-distribution<5"]
train = ["drivetrain[data]", "pydantic"]
"""


def _checkout(folder: Path, constraints: str = "") -> Path:
    (folder / "pyproject.toml").write_text(PYPROJECT)
    if constraints:
        (folder / "constraints.txt").write_text(constraints)
    return folder


def _by_name(folder: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_packages(folder)}


def test_a_missing_package_says_what_it_disables_and_how_to_mend_it(tmp_path: Path) -> None:
    data = _by_name(_checkout(tmp_path))["data"]
    assert (data.status, data.blocks_demo) == ("missing", True)
    assert data.detail == "2 of 3 packages; missing: no-such-distribution"
    assert "ingest" in (data.disables or "")
    assert "'.[data]'" in (data.remedy or "")


def test_another_version_than_the_tested_one_is_a_warning(tmp_path: Path) -> None:
    found = _by_name(_checkout(tmp_path, "# pins\nrich==0.0.1  # old\nTyper==0.0.2\n"))["base"]
    assert found.status == "warning"
    assert "(tested: 0.0.1)" in found.detail
    assert "(tested: 0.0.2)" in found.detail


def test_this_environment_is_complete_and_as_pinned() -> None:
    assert {finding.name: finding.status for finding in check_packages()} == dict.fromkeys(
        ["python", "base", "data", "train", "edge-open", "edge", "infra", "dev"], "ok"
    )


def test_without_a_checkout_the_installed_metadata_names_the_same_extras(tmp_path: Path) -> None:
    assert set(read_requirements(tmp_path)) >= {"base", "data", "train", "edge", "infra", "dev"}
    assert set(read_requirements(tmp_path)["base"]) & set(read_requirements(packages.CHECKOUT)["base"]) >= {
        "rich",
        "typer",
    }
    assert "drivetrain" not in read_requirements(tmp_path)["train"], "an extra inside an extra is no package"
    assert read_pins(tmp_path / "constraints.txt") == {}


def test_names_are_compared_as_indexes_compare_them() -> None:
    assert normalise("Ruamel.Yaml_Clib") == "ruamel-yaml-clib"


def test_another_python_blocks_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.13.1")
    python = _by_name(_checkout(tmp_path))["python"]
    assert python.blocks_demo
    assert "3.13.1" in python.detail


def test_a_finding_without_a_remedy_or_a_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="names no remedy"):
        Finding("parts", "ray", "warning", "old")
    with pytest.raises(ValueError, match="does not say what that disables"):
        Finding("parts", "ray", "missing", "absent", remedy="install it")
