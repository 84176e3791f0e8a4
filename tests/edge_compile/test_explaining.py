from __future__ import annotations

import json
from pathlib import Path

import pytest
from handoff_sources import compile_report, compiled_precision

from edge_compile.explaining import reasons_of
from edge_compile.messages import SearchedTensor, SearchReport
from platform_lib.errors import IntegrityError
from platform_lib.evidence import CompileReport


def published(folder: Path, linear: Path, precision: str, widths: dict[str, int]) -> CompileReport:
    """Lay out what a compile of the linear model leaves for one precision."""
    folder.mkdir()
    (folder / "fp32.onnx").write_bytes(linear.read_bytes())
    rows = [{"name": name, "bw": bits} for name, bits in widths.items()]
    (folder / f"{precision}.encodings.json").write_text(json.dumps({"activation_encodings": rows}))
    item = compiled_precision(precision, 50.0).model_copy(update={"encodings": f"{precision}.encodings.json"})
    return compile_report("0" * 64, {}).model_copy(update={"precisions": (item,), "chosen": precision})


@pytest.mark.parametrize(("precision", "bits"), [("w8a16", 16), ("w8a8", 8), ("w4a16", 16)])
def test_a_uniform_precision_explains_itself(linear: Path, tmp_path: Path, precision: str, bits: int) -> None:
    report = published(tmp_path / "out", linear, precision, {"x": bits, "y": bits, "a name of the tool's own": bits})
    found = reasons_of(tmp_path / "out", report)
    assert [(row.layer, row.tensor, row.bits) for row in found] == [
        ("an input of the model", "x", bits),
        ("Relu 'last'", "y", bits),
    ]
    assert {row.why for row in found} == {f"{precision} gives every tensor {bits} bits"}


def test_w8mixed_says_which_is_which(linear: Path, tmp_path: Path) -> None:
    report = published(tmp_path / "out", linear, "w8mixed", {"x": 8, "y": 16})
    assert [row.why for row in reasons_of(tmp_path / "out", report)] == [
        "w8mixed gives feature maps 8 bits",
        "w8mixed gives what is no feature map 16 bits",
    ]


def test_a_mix_says_what_the_search_measured(linear: Path, tmp_path: Path) -> None:
    report = published(tmp_path / "out", linear, "mixed", {"x": 8, "y": 16, "h": 8})
    searched = SearchedTensor(
        tensor="y", shared_with=("x",), layer="Relu 'last'", bits=16, alone_db=20.0, why="16 bits: alone in 8 bits it leaves 20.0 dB"
    )  # fmt: skip
    search = SearchReport(tolerance_db=30.0, reached=True, stopped=False, steps=(), tensors=(searched,))
    with pytest.raises(IntegrityError, match="no account of the search"):
        reasons_of(tmp_path / "out", report)
    (tmp_path / "out" / "mixed.search.json").write_text(search.model_dump_json())
    found = {row.tensor: (row.bits, row.why) for row in reasons_of(tmp_path / "out", report)}
    assert found["y"] == found["x"] == (16, "16 bits: alone in 8 bits it leaves 20.0 dB")
    assert found["h"] == (8, "it follows its neighbours")


def test_encodings_that_are_none_are_refused(linear: Path, tmp_path: Path) -> None:
    report = published(tmp_path / "out", linear, "w8a8", {})
    for text in ("{", "[]", '{"activation_encodings": [1]}'):
        (tmp_path / "out" / "w8a8.encodings.json").write_text(text)
        with pytest.raises(IntegrityError, match="not encodings"):
            reasons_of(tmp_path / "out", report)
