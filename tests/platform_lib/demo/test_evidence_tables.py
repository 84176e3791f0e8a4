"""Figures become text without a lie: unknown stays unknown, a winner is only one that differs."""

from __future__ import annotations

from evaluation_reports import report_of

from platform_lib.demo.evidence_tables import IntervalCell, bytes_text, interval_cell, ladder_rows, slice_rows
from platform_lib.evidence import Interval, MetricsRow, ParityRung


def row(planner: str, ade: float | None) -> MetricsRow:
    metrics = {} if ade is None else {"ade_m": Interval(value=ade, low=None, high=None)}
    if ade is not None:
        metrics["fde_m"] = Interval(value=2 * ade, low=None, high=None)
    return MetricsRow(planner=planner, slice="all", n=10, drives=2, metrics=metrics)


def test_the_smallest_error_is_marked_best():
    cells = slice_rows(report_of(row("camera", 0.5), row("ego_only", 0.9)), None)[0].cells
    assert [cell.best for cell in cells[:2]] == [True, False]
    assert cells[0].text == "0.50 / 1.00"


def test_equal_figures_have_no_winner():
    cells = slice_rows(report_of(row("camera", 0.5), row("ego_only", 0.5)), None)[0].cells
    assert not any(cell.best for cell in cells)


def test_figures_that_read_the_same_win_together():
    cells = slice_rows(report_of(row("camera", 0.501), row("w8mixed", 0.499), row("ego_only", 0.9)), None)[0].cells
    assert [cell.best for cell in cells[:3]] == [True, True, False]


def test_a_baseline_of_both_evaluations_is_shown_once_as_the_float_one_has_it():
    table = slice_rows(
        report_of(row("camera", 0.5), row("constant_velocity", 0.9)),
        report_of(row("w8mixed", 0.6), row("constant_velocity", 0.1), row("ego_only", 0.7)),
    )[0]
    assert [cell.text.split(" ")[0] for cell in table.cells[:4]] == ["0.50", "0.90", "0.60", "0.70"]


def test_what_was_not_measured_says_so_and_never_wins():
    cells = slice_rows(report_of(row("camera", None), row("ego_only", 0.9)), None)[0].cells
    assert cells[0].text == "not measured"
    assert not cells[0].best


def test_a_rung_not_run_shows_its_reason_and_no_bar():
    rung = ParityRung(
        name="target->device",
        precision="w8a16",
        status="not_run",
        samples=0,
        sqnr_db=None,
        max_abs_error=None,
        cosine=None,
        threshold_db=30.0,
        reason="no board here",
    )
    shown = ladder_rows([rung])[0]
    assert shown.bar is None
    assert shown.text == "no board here"


def test_a_bit_identical_rung_is_full():
    rung = ParityRung(
        name="a->b",
        precision="fp32",
        status="pass",
        samples=4,
        sqnr_db=None,
        max_abs_error=0.0,
        cosine=1.0,
        threshold_db=60.0,
    )
    assert ladder_rows([rung])[0].text == "bit-identical"


def test_units():
    assert bytes_text(None) == "unknown"
    assert bytes_text(12) == "12 B"
    assert bytes_text(1_500_000) == "1.50 MB"
    assert interval_cell(None) == IntervalCell("not measured")
    assert interval_cell(Interval(value=1.0, low=None, high=None)) == IntervalCell("1.00")
    assert interval_cell(Interval(value=1.0, low=0.5, high=2.0)) == IntervalCell("1.00", "0.50 to 2.00")
