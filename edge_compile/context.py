"""Context models on disk: which chip they were built for, and whether their bytes are still the ones that were proven.

The runtime checks neither: a flipped weight byte is accepted and gives wrong answers, and a context of another chip
generation loads and runs. So this module is passed before every load.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from edge_compile.compiled import ContextInfo
from platform_lib.errors import IntegrityError
from platform_lib.storage import sha256_file

_METADATA_KEY = "ep_compatibility_info.QNNExecutionProvider"
_CONTEXT_OP = "EPContext"
# `v2:6:2.51.0:5.51.0:0:52:0:0`: SDK version at index 2, chip id at 5. Source: read from binaries compiled with
# QNN 2.51.0 for each id of targets/qnn.yaml on 2026-11-20; an ignored chip name leaves 0 there. A binary for several
# chips has a list in that place (`0,0:52,72:0,0`), in the order asked; seen on 2026-11-30.
_SDK_FIELD, _SOC_FIELD, _FIELDS = 2, 5, 8


def read_context(path: Path) -> ContextInfo:
    """Read a context model's own account.

    Raises:
        IntegrityError: It is not a QNN context model, or names a file outside its folder.
    """
    try:
        onnx.checker.check_model(path)  # a file that is no protobuf fails here, with onnx's own error
        model = onnx.load(path, load_external_data=False)
    except (onnx.checker.ValidationError, FileNotFoundError, UnicodeDecodeError) as error:
        raise IntegrityError("not a context model", where=path, remedy="compile again") from error
    found = next((item.value for item in model.metadata_props if item.key == _METADATA_KEY), "")
    fields = found.split(":")
    contexts = [node for node in model.graph.node if node.op_type == _CONTEXT_OP]
    chips = fields[_SOC_FIELD].split(",") if len(fields) == _FIELDS else []
    if not chips or not all(chip.isdigit() for chip in chips) or not contexts:
        raise IntegrityError(f"no QNN target in its metadata ('{found}')", where=path, remedy="compile again")
    names = {
        attribute.s.decode(errors="replace")
        for node in contexts
        for attribute in node.attribute
        if attribute.name == "ep_cache_context"
    }
    if any(Path(name).name != name for name in names):
        raise IntegrityError("refers to a file outside its folder", where=path, remedy="compile again")
    return ContextInfo(
        soc_model=int(chips[0]),
        also=tuple(int(chip) for chip in chips[1:]),
        sdk_version=fields[_SDK_FIELD],
        binaries=tuple(sorted(names)),
        cpu_nodes=len(model.graph.node) - len(contexts),
    )


def check_context(path: Path, *, digests: Mapping[str, str], soc_model: int) -> ContextInfo:
    """Check a context model before it is loaded.

    Args:
        path: The context model; its binaries lie beside it.
        digests: File name -> the sha256 that was recorded when it was proven.
        soc_model: The chip it is about to run on.

    Raises:
        IntegrityError: A file changed, is missing or was never recorded, or the context was built for another chip.
    """
    _check_digest(path, digests)
    info = read_context(path)
    for name in info.binaries:
        _check_digest(path.with_name(name), digests)
    if soc_model not in info.soc_models:
        raise IntegrityError(
            f"built for chip id {', '.join(map(str, info.soc_models))}, not {soc_model}; the runtime would load it all the same",
            where=path,
            remedy="compile for this target",
        )
    return info


def _check_digest(path: Path, digests: Mapping[str, str]) -> None:
    recorded = digests.get(path.name)
    if recorded is None:
        raise IntegrityError("no digest was recorded for this file", where=path, remedy="compile again")
    if not path.is_file() or sha256_file(path) != recorded:
        raise IntegrityError("its bytes are not the ones that were proven", where=path, remedy="compile again")
