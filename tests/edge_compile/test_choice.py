from __future__ import annotations

from edge_compile.checks import CHECK_NAMES
from edge_compile.choice import choose
from edge_compile.performance import not_estimated
from platform_lib.evidence import Check, CompiledPrecision, Interval, ParityRung, Performance, SliceScore, Status


def compiled(precision: str, latency_us: float | None, *, bad_check: Status = "pass") -> CompiledPrecision:
    performance = not_estimated("none given")
    if latency_us is not None:
        interval = Interval(value=latency_us, low=latency_us - 5, high=latency_us + 5)
        performance = Performance(measured_on="simulator", latency_us=interval, ddr_read_bytes=1, ddr_write_bytes=1)
    checks = [Check(name=name, status="pass", detail="") for name in CHECK_NAMES]
    checks[3] = Check(name=CHECK_NAMES[3], status=bad_check, detail="planted")
    return CompiledPrecision(
        precision=precision,
        qdq=None,
        encodings=None,
        context=("c",),
        context_bytes=1,
        graph=None,
        performance=performance,
        checks=tuple(checks),
    )


def rung(
    precision: str, status: Status = "pass", name: str = "onnx->target", *, sqnr_db: float | None = 30.0
) -> ParityRung:
    return ParityRung(
        name=name,
        precision=precision,
        status=status,
        samples=1,
        sqnr_db=sqnr_db,
        max_abs_error=0.1,
        cosine=1.0,
        threshold_db=20.0,
        reason=None if status == "pass" else "planted",
    )


FLOAT = compiled("fp16", 100.0, bad_check="not_run")
RUNGS = (rung("fp16"), rung("w8a16"), rung("w8a8"))


def test_the_fastest_that_passes_is_chosen() -> None:
    assert choose((FLOAT, compiled("w8a16", 90.0), compiled("w8a8", 60.0)), RUNGS)[0] == "w8a8"
    assert choose((FLOAT, compiled("w8a16", 50.0), compiled("w8a8", 60.0)), RUNGS)[0] == "w8a16"


def test_of_equally_fast_ones_the_closest_is_chosen() -> None:
    mixed, coarse = compiled("w8mixed", 64.0), compiled("w8a8", 60.0)
    rungs = (rung("w8mixed", sqnr_db=55.0), rung("w8a8", sqnr_db=25.0))
    chosen, notes = choose((FLOAT, coarse, mixed), rungs)
    assert chosen == "w8mixed"
    assert "less exact" in notes[-1]
    assert choose((FLOAT, coarse, compiled("w8mixed", 66.0)), rungs)[0] == "w8a8"  # beyond the bounds of 5 us
    assert choose((FLOAT, coarse, mixed), (rung("w8mixed"), rung("w8a8", sqnr_db=None)))[0] == "w8a8"


def test_a_failed_rung_or_check_passes_the_choice_on() -> None:
    both = (FLOAT, compiled("w8a16", 90.0), compiled("w8a8", 60.0))
    assert choose(both, (rung("w8a16"), rung("w8a8", "fail")))[0] == "w8a16"
    island = compiled("w8a8", 60.0, bad_check="fail")
    assert choose((FLOAT, compiled("w8a16", 90.0), island), RUNGS)[0] == "w8a16"


def test_what_was_not_run_is_no_pass() -> None:
    assert choose((compiled("w8a8", 60.0, bad_check="not_run"),), RUNGS)[0] is None
    assert choose((compiled("w8a8", 60.0),), (rung("w8a8", "not_run"),))[0] is None
    assert choose((compiled("w8a8", 60.0),), ())[0] is None


def test_an_export_that_differs_from_torch_blocks_every_precision() -> None:
    broken = (*RUNGS, rung("fp32", "fail", "torch->onnx"))
    unproven = (*RUNGS, rung("fp32", "not_run", "torch->onnx"))
    assert choose((compiled("w8a8", 60.0),), broken)[0] is None
    assert choose((compiled("w8a8", 60.0),), unproven)[0] == "w8a8"


def test_float_is_never_chosen() -> None:
    chosen, notes = choose((FLOAT,), RUNGS)
    assert chosen is None
    assert "no precision passed" in notes[-1]


def test_an_unknown_latency_is_not_taken_as_zero() -> None:
    chosen, notes = choose((compiled("w8a16", 90.0), compiled("w8a8", None)), RUNGS)
    assert chosen == "w8a8"
    assert "no latency" in notes[-1]


def test_slower_than_float_is_said() -> None:
    notes = choose((FLOAT, compiled("w8a16", 138.0)), RUNGS)[1]
    assert notes == ("w8a16 is estimated slower than float: 138 us against 100 us",)


def score(precision: str, slice_: str, status: Status) -> SliceScore:
    return SliceScore(
        precision=precision, engine="target", slice=slice_, metric="ade", unit="m", truth="float", n=8, float_value=0.0, value=0.1,
        loss=3.0 if status == "fail" else 0.1, tolerance=0.5, status=status, reason=None if status == "pass" else "planted",
    )  # fmt: skip


def test_one_bad_slice_keeps_a_precision_back() -> None:
    both = (FLOAT, compiled("w8a16", 90.0), compiled("w8a8", 60.0))
    good = (score("w8a16", "all", "pass"), score("w8a16", "tunnel", "pass"), score("w8a8", "all", "pass"))
    chosen, notes = choose(both, RUNGS, task=(*good, score("w8a8", "tunnel", "fail")))
    assert chosen == "w8a16"
    assert "w8a8 is not for slice 'tunnel' (ade, target): planted" in notes
    assert choose(both, RUNGS, task=(*good, score("w8a8", "tunnel", "not_run")))[0] == "w8a16"
    assert choose(both, RUNGS, task=(*good, score("w8a8", "tunnel", "pass")))[0] == "w8a8"
    assert choose(both, RUNGS, task=())[0] is None  # asked for, and nothing was measured


def test_for_size_the_smallest_is_chosen() -> None:
    small = compiled("w4a16", 90.0).model_copy(update={"context_bytes": 0})
    chosen, notes = choose((FLOAT, compiled("w8a8", 60.0), small), (*RUNGS, rung("w4a16")), minimise="size")
    assert chosen == "w4a16"
    assert notes[-1] == "w4a16 was chosen for its size, 0 bytes"
