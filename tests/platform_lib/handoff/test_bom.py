from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from platform_lib.handoff.bom import BomContent, build_bom
from platform_lib.handoff.model import Dataset, HandoffManifest


@pytest.fixture
def content(signed: Any) -> BomContent:
    manifest = HandoffManifest.model_validate_json((signed.folder / "manifest.json").read_bytes())
    return BomContent(
        package_id="p",
        content_sha256="a" * 64,
        created_utc=datetime(2026, 1, 1, tzinfo=UTC),
        model_name="planner",
        model_version="1",
        function="plans",
        onnx_sha256="b" * 64,
        artefacts=manifest.files[:2],
        datasets=(Dataset(name="demo", step_sha256="c" * 64, outputs={"split.json": "d" * 64}),),
        environment={"numpy": "2.4.6", "Zope.Interface": "7.0"},
        evaluation=manifest.evaluation,
        inputs=(),
        outputs=(),
        limitations=("synthetic drives only",),
    )


def test_the_bill_lists_model_card_data_files_and_libraries(content: BomContent) -> None:
    bom = json.loads(build_bom(content))
    parts = {item["bom-ref"]: item for item in bom["components"]}
    model = parts["model"]
    assert (model["type"], model["hashes"][0]["content"]) == ("machine-learning-model", "b" * 64)
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "dataset:demo"}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0].keys() == {"type", "slice", "value", "confidenceInterval"}
    assert parts["dataset:demo"]["type"] == "data"
    assert parts["pkg:pypi/zope.interface@7.0"]["version"] == "7.0"
    assert bom["metadata"]["component"]["name"] == "p"
    edges = {item["ref"]: item.get("dependsOn", []) for item in bom["dependencies"]}
    assert edges["model"] == ["dataset:demo"]
    assert set(edges["bundle"]) == parts.keys()


def test_the_same_content_gives_the_same_bytes_and_other_content_another_serial_number(content: BomContent) -> None:
    assert build_bom(content) == build_bom(content)
    other = json.loads(build_bom(dataclasses.replace(content, content_sha256="e" * 64)))
    assert other["serialNumber"] != json.loads(build_bom(content))["serialNumber"]


def test_a_bill_that_breaks_the_schema_is_told_apart(content: BomContent) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    document = json.loads(build_bom(content))
    assert validator.validate_str(json.dumps(document)) is None
    model = next(item for item in document["components"] if item["bom-ref"] == "model")
    model["modelCard"]["colour"] = "red"
    assert validator.validate_str(json.dumps(document)) is not None
