"""What a dataset's manifest proves, read for the gate. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from platform_lib.contracts.evidence import METRIC, DatasetEvidence
from platform_lib.datasets.proof import SplitProof
from platform_lib.evidence import BlurRecall
from platform_lib.manifest import Manifest

PROOF, BLUR = "split_proof", "blur"


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What a dataset's manifest says.

    Attributes:
        digests: Every digest by which evidence may name the dataset: its step's and its outputs'.
        proof: The split proof; None if the manifest carries none that can be read.
        contracts: What data contracts found; None if the manifest carries nothing of it that can be read.
        blur_configs: Digests of the configurations that its blurred samples were blurred by.
        blur_recall: What was measured of one of them; None if nothing was, or it cannot be read.
    """

    digests: frozenset[str]
    proof: SplitProof | None
    contracts: DatasetEvidence | None
    blur_configs: frozenset[str] = frozenset()
    blur_recall: BlurRecall | None = None

    @property
    def pii_states(self) -> dict[str, int]:
        """State -> samples over all splits."""
        counts: dict[str, int] = {}
        for states in () if self.proof is None else self.proof.pii_states.values():
            for state, count in states.items():
                counts[state] = counts.get(state, 0) + count
        return counts


def dataset_facts(manifest: Manifest) -> DatasetFacts:
    """Read what a dataset's manifest proves; what is not there, or of another shape, proves nothing."""
    digests = frozenset({manifest.step_sha256, *(output.sha256 for output in manifest.outputs.values())})
    try:
        proof = SplitProof.model_validate(manifest.metrics[PROOF]) if PROOF in manifest.metrics else None
    except ValidationError:
        proof = None
    try:
        found = DatasetEvidence.model_validate(manifest.metrics[METRIC]) if METRIC in manifest.metrics else None
    except ValidationError:
        found = None
    told = manifest.metrics.get(BLUR)
    blur: Mapping[str, JsonValue] = told if isinstance(told, dict) else {}
    configs = blur.get("config_sha256")
    try:
        recall = BlurRecall.model_validate(blur["recall"]) if blur.get("recall") else None
    except ValidationError:
        recall = None
    return DatasetFacts(
        digests=digests,
        proof=proof,
        contracts=found,
        blur_configs=frozenset(map(str, configs if isinstance(configs, list) else ())),
        blur_recall=recall,
    )
