"""Whether every engine computes what the model does: the parity ladder, and its rung on a board."""

from __future__ import annotations

from edge_compile.gate_case import Case, Verdict, left_open, passes
from platform_lib.evidence import ParityRung
from platform_lib.handoff.thresholds import RungFloor


def judge_ladder(case: Case) -> list[Verdict]:
    """G5 ladder: parity on every rung that has a floor."""
    if case.compiled.chosen is None:
        return left_open("no precision was chosen")
    asked, chosen = case.thresholds.parity, case.compiled.chosen
    floors = [floor for floor in asked.rungs if chosen not in floor.absent_for]
    found = [_rung(case, floor, "fp32" if "fp32" in floor.min_db else chosen) for floor in floors]
    named = {floor.name for floor in (*floors, asked.device_rung)}
    extra = [r for r in case.compiled.parity if r.precision in ("fp32", chosen) and r.name not in named]
    return found + [Verdict(rung.status, f"{rung.name}: {_db(rung)}") for rung in extra]


def judge_device(case: Case) -> list[Verdict]:
    """G5 device: parity on a board."""
    if case.compiled.chosen is None:
        return left_open("no precision was chosen")
    return [_rung(case, case.thresholds.parity.device_rung, case.compiled.chosen)]


def unlike_float(case: Case, precision: str) -> list[Verdict]:
    """Return what keeps the build that compression has to outrun from being the model: its floors, and any rung that failed."""
    floors = [floor for floor in case.thresholds.parity.rungs if precision in floor.min_db]
    named = {floor.name for floor in floors}
    failed = [r for r in case.compiled.parity if (r.precision, r.status) == (precision, "fail") and r.name not in named]
    found = [_rung(case, floor, precision) for floor in floors]
    found += [Verdict("fail", f"{rung.name} ({precision}): {rung.reason}") for rung in failed]
    return [verdict for verdict in found if verdict.status != "pass"]


def _rung(case: Case, floor: RungFloor, precision: str) -> Verdict:
    where = f"{floor.name} ({precision})"
    if precision not in floor.min_db:
        return Verdict("not_run", f"{where}: no floor is written for this precision")
    rungs = [rung for rung in case.compiled.parity if (rung.name, rung.precision) == (floor.name, precision)]
    if not rungs:
        return Verdict("not_run", f"{where}: was not run")
    if len(rungs) > 1:
        return Verdict("fail", f"{where}: {len(rungs)} results contradict each other")
    return _rung_verdict(rungs[0], where, floor.min_db[precision], floor.min_samples)


def _rung_verdict(rung: ParityRung, where: str, floor_db: float, min_samples: int) -> Verdict:
    if rung.status != "pass":
        return Verdict(rung.status, f"{where}: {rung.reason}")
    needed_db = floor_db if rung.threshold_db is None else max(floor_db, rung.threshold_db)
    said = f"{where}: {_db(rung)}, needs {needed_db:g} dB, {rung.samples} samples"
    if not rung.samples >= min_samples:
        return Verdict("not_run", f"{said}: at least {min_samples} needed")
    if rung.sqnr_db is None:
        return passes(rung.max_abs_error == 0.0, f"{said}, max_abs_error {rung.max_abs_error}")
    return passes(rung.sqnr_db >= needed_db, said)


def _db(rung: ParityRung) -> str:
    if rung.sqnr_db is not None:
        return f"{rung.sqnr_db:.1f} dB"
    return "bit-identical" if rung.status == "pass" and rung.max_abs_error == 0.0 else "no SQNR"
