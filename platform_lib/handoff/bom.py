"""The bill of materials of a bundle: CycloneDX 1.6 with the model, its card, its data and the libraries behind it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from pydantic import JsonValue

from platform_lib.errors import ContractError
from platform_lib.handoff.model import Dataset, Evaluation, FileEntry, Tensor, Unknown

# Serial numbers are derived from content in this namespace, so that the same content has the same one.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:drivetrain:bom")
_MODEL_REF = "model"


@dataclass(frozen=True, slots=True)
class BomContent:
    """What goes into the bill of materials.

    Attributes:
        content_sha256: Digest of the bundle's content; the serial number follows from it.
        created_utc: When the newest input was made.
        artefacts: What is delivered: the float model and what was compiled from it.
        environment: Distribution -> version of the run that trained the model.
        limitations: Known limits, one sentence each.
    """

    package_id: str
    content_sha256: str
    created_utc: datetime
    model_name: str
    model_version: str
    function: str
    onnx_sha256: str
    artefacts: tuple[FileEntry, ...]
    datasets: tuple[Dataset, ...]
    environment: Mapping[str, str]
    evaluation: tuple[Evaluation, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    limitations: tuple[str, ...]


def build_bom(content: BomContent) -> bytes:
    """Return the bill of materials as JSON; the same content gives the same bytes.

    The library has no model card, so the card is put into its output, and the whole is checked against the schema that
    the library carries.

    Raises:
        ContractError: The result breaks the CycloneDX 1.6 schema.
    """
    model = Component(
        name=content.model_name,
        version=content.model_version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=_MODEL_REF,
        description=content.function,
        hashes=_sha256(content.onnx_sha256),
    )
    data = [_dataset(dataset) for dataset in content.datasets]
    parts = [*data, *_files(content.artefacts), *_libraries(content.environment)]
    bundle = Component(
        name=content.package_id,
        version=content.model_version,
        type=ComponentType.FIRMWARE,
        bom_ref="bundle",
        hashes=_sha256(content.content_sha256),
    )
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, content.content_sha256),
        metadata=BomMetaData(component=bundle, timestamp=content.created_utc),
        components=[model, *parts],
        dependencies=[
            Dependency(bundle.bom_ref, [Dependency(model.bom_ref), *(Dependency(part.bom_ref) for part in parts)]),
            Dependency(model.bom_ref, [Dependency(item.bom_ref) for item in data]),
        ],
    )
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    for component in document["components"]:
        if component["bom-ref"] == _MODEL_REF:
            component["modelCard"] = _card(content)
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise ContractError(f"the bill of materials breaks the CycloneDX 1.6 schema: {problem.data}", where="bom")
    return text.encode()


def _sha256(digest: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]


def _dataset(dataset: Dataset) -> Component:
    return Component(
        name=dataset.name,
        version=dataset.step_sha256,
        type=ComponentType.DATA,
        bom_ref=f"dataset:{dataset.name}",
        hashes=_sha256(dataset.step_sha256),
        properties=[Property(name=f"drivetrain:sha256:{path}", value=item) for path, item in dataset.outputs.items()],
    )


def _files(entries: Iterable[FileEntry]) -> list[Component]:
    return [
        Component(name=entry.path, type=ComponentType.FILE, bom_ref=f"file:{entry.path}", hashes=_sha256(entry.sha256))
        for entry in entries
    ]


def _libraries(environment: Mapping[str, str]) -> list[Component]:
    found = []
    for name, version in environment.items():
        purl = PackageURL(type="pypi", name=name, version=version)
        found.append(Component(name=name, version=version, bom_ref=purl.to_string(), purl=purl))
    return found


def _card(content: BomContent) -> dict[str, JsonValue]:
    datasets: list[JsonValue] = [{"ref": f"dataset:{dataset.name}"} for dataset in content.datasets]
    metrics: list[JsonValue] = [_metric(item) for item in content.evaluation if item.loop == "open"]
    limitations: list[JsonValue] = list(content.limitations)
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "planning",
            "architectureFamily": "neural network",
            "modelArchitecture": content.model_name,
            "datasets": datasets,
            "inputs": [_tensor(item) for item in content.inputs],
            "outputs": [_tensor(item) for item in content.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {"useCases": [content.function], "technicalLimitations": limitations},
    }


def _tensor(tensor: Tensor) -> dict[str, JsonValue]:
    return {"format": f"{tensor.name}: {tensor.dtype} {'x'.join(map(str, tensor.shape))}"}


def _metric(item: Evaluation) -> dict[str, JsonValue]:
    metric: dict[str, JsonValue] = {
        "type": f"{item.planner} {item.metric}",
        "slice": item.slice,
        "value": f"{item.value:.6g}",
    }
    if not isinstance(item.low, Unknown) and not isinstance(item.high, Unknown):
        metric["confidenceInterval"] = {"lowerBound": f"{item.low:.6g}", "upperBound": f"{item.high:.6g}"}
    return metric
