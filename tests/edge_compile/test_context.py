from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from edge_compile.context import check_context, read_context
from platform_lib.errors import IntegrityError
from platform_lib.storage import sha256_file

# Recorded from a context compiled for SA8255P by QNN 2.51.0.
METADATA = "v2:6:2.51.0:5.51.0:0:52:0:0"


def write_context(folder: Path, *, metadata: str = METADATA, binary: str = "m.ctx_qnn.bin", on_cpu: int = 0) -> Path:
    """Write a context model as the compiler does, with bytes of our own in place of the binary."""
    nodes = [helper.make_node("EPContext", ["x"], ["h"], domain="com.microsoft", ep_cache_context=binary, embed_mode=0)]
    nodes += [helper.make_node("Relu", ["h"], [f"y{index}"]) for index in range(on_cpu)]
    graph = helper.make_graph(
        nodes,
        "context",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, 4])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, {"ep_compatibility_info.QNNExecutionProvider": metadata})
    path = folder / "m.ctx.onnx"
    onnx.save(model, path)
    (folder / "m.ctx_qnn.bin").write_bytes(b"weights and code")
    return path


def digests_of(path: Path) -> dict[str, str]:
    return {item.name: sha256_file(item) for item in path.parent.iterdir()}


def test_reads_chip_release_binaries_and_placement(tmp_path: Path) -> None:
    info = read_context(write_context(tmp_path, on_cpu=2))
    assert (info.soc_model, info.sdk_version, info.binaries, info.cpu_nodes) == (52, "2.51.0", ("m.ctx_qnn.bin",), 2)


def test_a_sound_context_passes(tmp_path: Path) -> None:
    path = write_context(tmp_path)
    assert check_context(path, digests=digests_of(path), soc_model=52).soc_model == 52


@pytest.mark.parametrize("metadata", ["", "v3:52", "v2:6:2.51.0:5.51.0:0:sa8255p:0:0", "v2:6:2.51.0:5.51.0:0:52:0:0:9"])
def test_metadata_of_another_form_is_refused_not_guessed(tmp_path: Path, metadata: str) -> None:
    with pytest.raises(IntegrityError, match="no QNN target"):
        read_context(write_context(tmp_path, metadata=metadata))


@pytest.mark.parametrize("binary", ["../../etc/passwd", "/etc/passwd", "sub/m.bin"])
def test_a_binary_outside_the_folder_is_refused(tmp_path: Path, binary: str) -> None:
    with pytest.raises(IntegrityError, match="outside its folder"):
        read_context(write_context(tmp_path, binary=binary))


def test_what_is_no_context_is_refused(tmp_path: Path, linear: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"garbage" * 9)
    for path in (linear, tmp_path / "garbage.onnx", tmp_path / "none.onnx"):
        with pytest.raises(IntegrityError):
            read_context(path)


@pytest.mark.parametrize("name", ["m.ctx.onnx", "m.ctx_qnn.bin"])
def test_a_changed_missing_or_unrecorded_file_is_refused(tmp_path: Path, name: str) -> None:
    path = write_context(tmp_path)
    digests = digests_of(path)
    with pytest.raises(IntegrityError, match="no digest was recorded"):
        check_context(path, digests={key: value for key, value in digests.items() if key != name}, soc_model=52)
    with (tmp_path / name).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(IntegrityError, match="not the ones that were proven"):
        check_context(path, digests=digests, soc_model=52)
    (tmp_path / name).unlink()
    with pytest.raises(IntegrityError, match="not the ones that were proven"):
        check_context(path, digests=digests, soc_model=52)


@pytest.mark.parametrize("soc_model", [39, 0, 72])
def test_another_chip_is_refused(tmp_path: Path, soc_model: int) -> None:
    path = write_context(tmp_path)
    with pytest.raises(IntegrityError, match=f"built for chip id 52, not {soc_model}"):
        check_context(path, digests=digests_of(path), soc_model=soc_model)
