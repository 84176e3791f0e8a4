from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edge_compile.checks import CHECK_NAMES, failed_compile, run_checks
from edge_compile.compiled import OPTIMISATION_LEVEL, Compiled, ContextInfo
from edge_compile.messages import CompileAnswer, RunAnswer
from edge_compile.performance import not_estimated
from edge_compile.targets.table import find_target
from edge_compile.waivers import in_force, read_waivers
from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.evidence import Check, GraphSummary, NodeWaiver

TARGET = find_target("sa8255p")
SCRATCH = Path("/scratch")
ANSWER = CompileAnswer(
    provider_options={"backend_path": "/lib/libQnnHtp.so", "soc_model": "52", "vtcm_mb": "8"},
    optimisation_level=OPTIMISATION_LEVEL,
    current_folder="/scratch/w8a8",
    files=("w8a8.ctx.onnx", "w8a8.ctx_qnn.bin", "qnn_op_trace.json"),
)
GRAPH = GraphSummary(npu_nodes=20, cpu_nodes=0, dtypes={"ufixed8": 20}, float_nodes=(), unsupported={})
GOOD = Compiled(
    precision="w8a8",
    context=SCRATCH / "w8a8.ctx.onnx",
    files={},
    info=ContextInfo(soc_model=52, sdk_version="2.51.0", binaries=("w8a8.ctx_qnn.bin",), cpu_nodes=0),
    graph=GRAPH,
    quantized=True,
    performance=not_estimated("not asked"),
    answer=ANSWER,
    digests={"w8a8.ctx.onnx": "a", "w8a8.ctx_qnn.bin": "b"},
)
RAN = RunAnswer(checked_files=("w8a8.ctx.onnx", "w8a8.ctx_qnn.bin"), soc_model=52, samples=16)


def verdicts(compiled: Compiled, ran: RunAnswer | None = RAN) -> dict[str, str]:
    return {item.name: item.status for item in run_checks(compiled, ran, TARGET, SCRATCH, why_not_run="no emulator")}


def test_a_sound_precision_passes_every_named_check() -> None:
    assert verdicts(GOOD) == dict.fromkeys(CHECK_NAMES, "pass")


def with_graph(**changes: Any) -> Compiled:
    return replace(GOOD, graph=GRAPH.model_copy(update=changes))


def with_answer(**changes: Any) -> Compiled:
    return replace(GOOD, answer=ANSWER.model_copy(update=changes))


@pytest.mark.parametrize(
    ("check", "faulty"),
    [
        ("soc_readback", replace(GOOD, info=replace(GOOD.info, soc_model=0))),
        ("soc_readback", replace(GOOD, info=replace(GOOD.info, soc_model=39))),
        ("no_float_islands", with_graph(float_nodes=("LayerNorm_1",))),
        ("not_fp16_by_accident", replace(GOOD, quantized=False)),
        ("optimisation_level_named", with_answer(optimisation_level="ORT_ENABLE_ALL")),
        ("provider_options_allow_listed", with_answer(provider_options={"soc_model": "52", "vtcm_mb": "99"})),
        ("provider_options_allow_listed", with_answer(provider_options={"vtcm_mb": "8"})),
        ("scratch_folder", with_answer(current_folder="/home/engineer")),
        ("all_nodes_on_npu", with_graph(cpu_nodes=1)),
        ("all_nodes_on_npu", with_graph(unsupported={"/Erf": "not supported"})),
    ],
)
def test_each_planted_fault_fails_its_own_check_alone(check: str, faulty: Compiled) -> None:
    assert verdicts(faulty) == {**dict.fromkeys(CHECK_NAMES, "pass"), check: "fail"}


def test_faults_at_the_load_fail_their_checks() -> None:
    assert verdicts(GOOD, RAN.model_copy(update={"soc_model": 39}))["context_target_match"] == "fail"
    assert verdicts(GOOD, RAN.model_copy(update={"checked_files": ()}))["digest_before_load"] == "fail"


def test_without_an_emulator_the_load_checks_are_not_run() -> None:
    found = verdicts(GOOD, None)
    assert (found["digest_before_load"], found["context_target_match"]) == ("not_run", "not_run")


def test_the_float_reference_is_float_on_purpose_and_must_be() -> None:
    reference = replace(GOOD, precision="fp16", quantized=False)
    assert verdicts(reference)["not_fp16_by_accident"] == "pass"
    assert verdicts(reference)["no_float_islands"] == "not_run"
    assert verdicts(replace(reference, quantized=True))["not_fp16_by_accident"] == "fail"


def test_a_failed_compile_fails_publishing_and_runs_nothing_else() -> None:
    found = {item.name: item.status for item in failed_compile("the compiler refuses Erf")}
    assert found == {**dict.fromkeys(CHECK_NAMES, "not_run"), "published_only_after_success": "fail"}


# Dated waivers

WAIVER = NodeWaiver(
    precision="w8a8", node="LayerNorm_1", until=date(2027, 1, 31), approved_by="A. Person", why="no int8 kernel"
)


def float_islands(nodes: tuple[str, ...], *waivers: NodeWaiver) -> Check:
    found = run_checks(with_graph(float_nodes=nodes), RAN, TARGET, SCRATCH, waivers=waivers)
    return next(item for item in found if item.name == "no_float_islands")


def test_a_waived_node_passes_and_says_until_when_by_whom_and_why() -> None:
    found = float_islands(("LayerNorm_1",), WAIVER)
    assert found.status == "pass"
    assert "LayerNorm_1 until 2027-01-31 by A. Person: no int8 kernel" in found.detail


@pytest.mark.parametrize(
    ("nodes", "waiver"),
    [
        (("LayerNorm_1", "LayerNorm_2"), WAIVER),
        (("LayerNorm_1",), WAIVER.model_copy(update={"precision": "w8a16"})),
        (("LayerNorm_10",), WAIVER),
    ],
)
def test_a_waiver_covers_its_own_node_alone(nodes: tuple[str, ...], waiver: NodeWaiver) -> None:
    assert float_islands(nodes, waiver).status == "fail"


def test_a_waiver_holds_on_its_last_day_and_not_after() -> None:
    assert in_force([WAIVER], date(2027, 1, 31)) == (WAIVER,)
    assert in_force([WAIVER], date(2027, 2, 1)) == ()


def test_waivers_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yaml"
    row = "{precision: w8a8, node: LayerNorm_1, until: 2027-01-31, approved_by: A. Person, why: no int8 kernel}"
    path.write_text(f"waivers: [{row}]")
    assert read_waivers(path) == (WAIVER,)
    for text in (
        f"waivers: [{row}, {row}]",
        f"waivers: [{row.replace('until: 2027-01-31, ', '')}]",
        "waiver: []",
        "{",
        "waivers: 3",
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_waivers(path)
        assert caught.value.remedy
    with pytest.raises(MissingPartError):
        read_waivers(tmp_path / "none.yaml")


def test_a_single_compile_that_holds_a_second_chip_is_seen() -> None:
    assert verdicts(replace(GOOD, info=replace(GOOD.info, also=(72,))))["soc_readback"] == "fail"
