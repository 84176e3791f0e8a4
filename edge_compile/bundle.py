"""The bundle: artefacts, evidence, bill of materials and handoff manifest in one signed folder.

The same inputs and key give the same files, digest for digest, but for ``bundle.sig``: ECDSA draws a random number.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from edge_compile import statements
from edge_compile.bundle_readme import readme
from edge_compile.bundle_sources import Packed, Places, Sources, read_sources
from edge_compile.onnx_interface import read_interface
from edge_compile.workplace import sweep_killed
from platform_lib.errors import ConfigError, IntegrityError
from platform_lib.handoff import model
from platform_lib.handoff.bom import BomContent, build_bom
from platform_lib.handoff.derive import evaluation_entries, gates, rungs, step_record, target
from platform_lib.handoff.keys import SigningKey, canonical_public_pem, ensure_signing_key
from platform_lib.handoff.model import FileEntry, HandoffManifest, unknown
from platform_lib.handoff.signing import sign_folder
from platform_lib.handoff.verify import verify_bundle
from platform_lib.home import Home
from platform_lib.manifest import Manifest, Step, manifest_path_of
from platform_lib.storage import publish_folder, sha256_file


@dataclass(frozen=True, slots=True)
class Bundled:
    """What `build_bundle` made.

    Attributes:
        skipped: It was up to date and nothing ran.
    """

    folder: Path
    package_id: str
    state: str
    blocking: tuple[str, ...]
    key_id: str
    files: int
    skipped: bool


def build_bundle(places: Places, out: Path, home: Home) -> Bundled:
    """Check every source against its manifest, pack, sign, verify and publish.

    Args:
        places: Where the parts are.
        out: The bundle's folder; an earlier bundle there is replaced.
        home: Holds the signing key, made on first use.

    Raises:
        MissingPartError: A source is missing.
        IntegrityError: A source differs from its manifest, or sources do not belong together.
        ContractError: The gates rejected the model, or a source may not be packed.
        ConfigError: `out` holds something other than a bundle.
    """
    _refuse_foreign(out)
    sources = read_sources(places)
    key = ensure_signing_key(home)
    step = Step(
        "bundle",
        inputs=sources.inputs,
        config={"key_id": key.public.key_id, "manifest_version": 1},
        modules=("edge_compile.bundle",),
    )
    with home.lock("bundle", wait_s=60.0):
        sweep_killed(out)
        if (done := step.done(manifest_path_of(out))) is not None and out.is_dir():
            return _bundled(out, done, skipped=True)
        with publish_folder(out) as temporary:
            manifest = _fill(temporary, sources, key)
        finished = step.finish(manifest_path_of(out), {"bundle": out}, _metrics(manifest))
    return _bundled(out, finished, skipped=False)


def _refuse_foreign(out: Path) -> None:
    """Publishing replaces a whole folder: never one that is not a bundle."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError("not a folder", where=out, remedy="name a new folder with --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / model.SIGNATURE_NAME).is_file() or not (out / model.MANIFEST_NAME).is_file():
            raise ConfigError("holds something other than a bundle", where=out, remedy="name a new folder with --out")


def _fill(temporary: Path, sources: Sources, key: SigningKey) -> HandoffManifest:
    content_sha256 = _content_sha256(sources.packed)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", sources.compiled.model_name).strip("-.") or "model"
    package_id = f"{name}-{sources.compiled.target}-{sources.chosen.precision}-{content_sha256[:12]}"
    inner = temporary / package_id  # signed under its own name, then moved up
    files = [_copy(item, inner) for item in sources.packed]
    manifest = _describe(inner, sources, key, files, package_id=package_id, content_sha256=content_sha256)
    _write(inner / model.MANIFEST_NAME, (manifest.model_dump_json(indent=2) + "\n").encode())
    sign_folder(inner, key)
    found = verify_bundle(inner, (key.public,), only_these=True)
    if found.verdict != "verified":
        raise IntegrityError(
            f"the new bundle does not verify: {'; '.join(found.problems)}",
            where=inner,
            remedy="a source changed while it was packed: make the bundle again",
        )
    for child in sorted(inner.iterdir()):
        child.rename(temporary / child.name)
    inner.rmdir()
    return manifest


def _describe(
    inner: Path, sources: Sources, key: SigningKey, files: list[FileEntry], *, package_id: str, content_sha256: str
) -> HandoffManifest:
    """Write bill of materials, README and public key, and return the manifest over all files."""
    by_path = {entry.path: entry for entry in files}
    evaluation = evaluation_entries(sources.evaluation, sources.compressed, sources.thresholds)
    inputs, outputs = read_interface(inner / model.MODEL_ONNX)
    dataset = model.Dataset(
        name=sources.dataset_name,
        step_sha256=sources.dataset.step_sha256,
        outputs={item.path: item.sha256 for item in sources.dataset.outputs.values()},
    )
    bom = BomContent(
        package_id=package_id,
        content_sha256=content_sha256,
        created_utc=sources.created_utc,
        model_name=sources.compiled.model_name,
        model_version=sources.run.step_sha256[:12],
        function=statements.FUNCTION,
        onnx_sha256=sources.compiled.onnx_sha256,
        artefacts=tuple(entry for entry in files if entry.path.startswith(("model/", "compiled/"))),
        datasets=(dataset,),
        environment=sources.run.environment,
        evaluation=evaluation,
        inputs=inputs,
        outputs=outputs,
        limitations=statements.limitations(measured=_measured(sources)),
    )
    public = canonical_public_pem(key.public.path.read_bytes(), key.public.path)
    bom_entry = _add(inner, model.BOM_NAME, "bill of materials", build_bom(bom))
    header = model.Header(
        manifest_version=1,
        package_id=package_id,
        created_utc=sources.created_utc,
        state=sources.state,
        blocking=sources.gates.blocking,
    )
    return HandoffManifest(
        header=header,
        item=statements.ITEM,
        model=_model(sources, inputs, outputs),
        targets=(target(sources.compiled, sources.chosen, by_path),),
        data=_data(sources, dataset),
        evaluation=evaluation,
        parity=rungs(sources.compiled),
        gates=gates(sources.gates),
        safety=statements.safety(measured=_measured(sources)),
        tools=statements.tools(sources.run.environment, sources.compiled.tools),
        provenance=_provenance(sources, by_path, bom_entry),
        approvals=(),
        deployment=statements.DEPLOYMENT,
        signature=model.SignatureNote(
            scheme="model-signing",
            algorithm="ECDSA, SHA-2 of the curve's size, DSSE envelope over an in-toto statement",
            file=model.SIGNATURE_NAME,
            key_id=key.public.key_id,
            public_key_file=model.PUBLIC_KEY_NAME,
        ),
        files=(
            *files,
            bom_entry,
            _add(
                inner,
                model.README_NAME,
                "for people",
                readme(header, sources.compiled, sources.chosen, sources.gates, key_id=key.public.key_id),
            ),
            _add(inner, model.PUBLIC_KEY_NAME, "for comparison", public),
        ),
    )


def _measured(sources: Sources) -> bool:
    return sources.compiled.on_device(sources.chosen.precision) is not None


def _model(sources: Sources, inputs: tuple[model.Tensor, ...], outputs: tuple[model.Tensor, ...]) -> model.Model:
    calibration = tuple(
        item.sha256 for name, item in sorted(sources.compile_manifest.inputs.items()) if "calibration" in name
    )
    return model.Model(
        name=sources.compiled.model_name,
        version=sources.run.step_sha256[:12],
        run_id=sources.run_name,
        weights_sha256=sources.evaluation.weights_sha256,
        onnx_sha256=sources.compiled.onnx_sha256,
        inputs=inputs,
        outputs=outputs,
        preprocessing_sha256=sources.run.code.sha256,
        calibration_sha256=calibration or unknown("the compile's manifest names no calibration samples"),
        fallback_contract=statements.FALLBACK,
    )


def _data(sources: Sources, dataset: model.Dataset) -> model.Data:
    proof = sources.facts.proof
    none = unknown("the dataset's manifest carries no split proof")
    return model.Data(
        contracts=_contracts(sources) or unknown("no data contract has been evaluated"),
        datasets=(dataset,),
        split_proof=none if proof is None else {str(split): drives for split, drives in proof.drives.items()},
        pii_states=sources.facts.pii_states or none,
        label_version=unknown("labels are the recorded future of the drive itself; they have no version"),
        anonymisation_method=(
            "none needed: no sample shows a real person"
            if sources.facts.pii_states.keys() == {"none_present"}
            else unknown("the dataset's manifest does not name the method")
        ),
        known_gaps=unknown("no operational design domain has been written to compare with"),
    )


def _contracts(sources: Sources) -> tuple[str, ...]:
    found = sources.facts.contracts
    held = () if found is None else found.contracts
    return tuple(sorted({f"{item.contract_id} {item.version} sha256:{item.sha256}" for item in held}))


def _provenance(sources: Sources, by_path: dict[str, FileEntry], bom: FileEntry) -> model.Provenance:
    environment = json.dumps(dict(sorted(sources.run.environment.items()))).encode()
    return model.Provenance(
        steps=tuple(step_record(manifest, by_path[path]) for path, manifest in sources.step_manifests.items()),
        environment_sha256=hashlib.sha256(environment).hexdigest(),
        bom=bom,
        lock_file_sha256=unknown("the versions that ran are in the run's manifest; no lock file travels with it"),
        in_toto_links=unknown("each step's manifest stands for its link; the signature alone is an in-toto statement"),
        spdx=unknown("no SPDX document is made; the bill of materials is CycloneDX"),
    )


def _copy(item: Packed, inner: Path) -> FileEntry:
    """Copy one source; what arrived has to have the digest its manifest names, whatever happened in between."""
    path = inner / item.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if item.content is not None:
        path.write_bytes(item.content)
    else:
        shutil.copyfile(item.source, path)
    if sha256_file(path) != item.sha256:
        raise IntegrityError("changed while it was packed", where=item.source, remedy="make it again")
    return FileEntry(path=item.path, role=item.role, sha256=item.sha256, bytes=path.stat().st_size)


def _add(inner: Path, name: str, role: str, data: bytes) -> FileEntry:
    _write(inner / name, data)
    return FileEntry(path=name, role=role, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _content_sha256(packed: tuple[Packed, ...]) -> str:
    lines = "".join(f"{item.path}\0{item.sha256}\n" for item in sorted(packed, key=lambda item: item.path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _metrics(manifest: HandoffManifest) -> dict[str, JsonValue]:
    return {
        "package_id": manifest.header.package_id,
        "state": manifest.header.state,
        "blocking": list(manifest.header.blocking),
        "files": len(manifest.files) + 2,
    }


def _bundled(out: Path, manifest: Manifest, *, skipped: bool) -> Bundled:
    said = HandoffManifest.model_validate_json((out / model.MANIFEST_NAME).read_bytes())
    return Bundled(
        folder=out,
        package_id=said.header.package_id,
        state=said.header.state,
        blocking=said.header.blocking,
        key_id=said.signature.key_id,
        files=len(said.files) + 2,
        skipped=skipped,
    )
