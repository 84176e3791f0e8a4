from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_compile.targets.doors import NVIDIA, door_of, qaic_exec, refuse, trtexec
from edge_compile.targets.table import find_target, targets
from platform_lib.errors import ConfigError, MissingPartError, PlatformError


@pytest.mark.parametrize(
    ("name", "soc_model", "architecture"),
    [
        ("sa8255p", 52, "v73"),
        ("sa8295p", 39, "v68"),
        ("sa8540p", 62, "v68"),
        ("sa8797p", 72, "v81"),
        ("qcs9100", 77, "v73"),
        ("sm8650", 57, "v75"),
    ],
)
def test_confirmed_targets(name: str, soc_model: int, architecture: str) -> None:
    target = find_target(name)
    assert (target.soc_model, target.architecture, target.confirmed) == (soc_model, architecture, True)


@pytest.mark.parametrize("name", ["sa8650p", "sa8775p"])
def test_a_guessed_id_has_to_be_accepted(name: str) -> None:
    with pytest.raises(ConfigError, match="unconfirmed") as caught:
        find_target(name)
    assert "--accept-unconfirmed" in str(caught.value.remedy)
    assert not find_target(name, accept_unconfirmed=True).confirmed


def test_every_guess_says_what_it_rests_on() -> None:
    assert all(item.confirmed or item.note for item in targets().values())


@pytest.mark.parametrize("name", ["sa9999p", "", "52", "SA8255P; rm"])
def test_an_unknown_target_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown target") as caught:
        find_target(name)
    assert all(known in str(caught.value.remedy) for known in targets())


# Makers whose compilers are not in the package index

RECORDED = {
    "orin": "trtexec --onnx=int8.qdq.onnx --saveEngine=orin.engine --int8 --fp16 --timingCacheFile=orin.engine.timing "
    "--exportTimes=orin.engine.times.json --exportLayerInfo=orin.engine.layers.json --profilingVerbosity=detailed --skipInference",
    "aic100": "qaic-exec -m=int8.qdq.onnx -aic-hw -aic-hw-version=2.0 -compile-only -aic-binary-dir=aic100.engine",
}


@pytest.mark.parametrize(("name", "part"), [("orin", "TensorRT 10"), ("aic100", "the Cloud AI Apps SDK")])
def test_a_compiler_that_is_not_here_is_named_with_the_line_to_run(name: str, part: str, tmp_path: Path) -> None:
    door = door_of(name)
    assert door is not None
    error = refuse(door, name, search_path=str(tmp_path))
    assert isinstance(error, MissingPartError)
    assert "is not available here" in error.what
    assert error.remedy is not None
    assert f"install {part}" in error.remedy
    assert error.remedy.endswith(RECORDED[name])


@pytest.mark.parametrize("name", ["orin", "thor-u", "aic100"])
def test_other_makers_are_never_compiled_for_nor_said_to_be(name: str) -> None:
    with pytest.raises(PlatformError, match=r"not available here|not supported yet"):
        find_target(name)


def test_a_compiler_that_is_here_is_not_claimed_to_have_run(tmp_path: Path) -> None:
    tool = tmp_path / "trtexec"
    tool.write_text("#!/bin/sh\ntouch ran\n")
    tool.chmod(0o755)
    error = refuse(NVIDIA, "orin", search_path=str(tmp_path))
    assert isinstance(error, ConfigError)
    assert "not supported yet" in error.what
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("command", "precision", "flags"),
    [(trtexec, "fp16", ("--fp16",)), (trtexec, "fp8", ("--fp8", "--fp16")), (qaic_exec, "fp16", ("-convert-to-fp16",))],
)
def test_each_precision_has_its_flags(command: Any, precision: str, flags: tuple[str, ...]) -> None:
    assert set(flags) <= set(command(precision, "m.onnx", "out"))
    with pytest.raises(ConfigError, match="has no 'int3' here"):
        command("int3", "m.onnx", "out")


def test_case_does_not_matter() -> None:
    assert find_target("SA8255P").name == "sa8255p"
