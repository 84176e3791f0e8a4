from __future__ import annotations

from edge_compile.performance import estimates_csv, performance, read_estimates

# Recorded from a compile of the demo planner for SA8255P, QNN 2.51.0; the first lines are this machine's own costs.
RECORDED = """\
Msg Timestamp,Message,Time,Unit of Measurement,Timing Source,Event Level,Event Identifier,ONNX Source Ops
0,FINALIZE,22570,US,BACKEND,ROOT,QNN (finalize) time,
0,UNKNOWN,14237,US,BACKEND,SUB-EVENT,Graph Optimizations,
0,BACKEND,0,US,BACKEND,ROOT,Performance Estimates,
0,BACKEND,0,US,BACKEND,SUB-EVENT,Mode,
0,BACKEND,207180,CYCLES,BACKEND,SUB-EVENT,Simulated (Accelerator exec cycles),
0,BACKEND,138,US,BACKEND,SUB-EVENT,Simulated (Accelerator exec time us),
0,BACKEND,116,US,BACKEND,SUB-EVENT,Simulated (Accelerator exec time us (lower estimate)),
0,BACKEND,165,US,BACKEND,SUB-EVENT,Simulated (Accelerator exec time us (upper estimate)),
0,BACKEND,401408,BYTES,BACKEND,SUB-EVENT,Input Fill,
0,BACKEND,7,BYTES,BACKEND,SUB-EVENT,Intermediate Fill,
0,BACKEND,5,BYTES,BACKEND,SUB-EVENT,Intermediate Spill,
0,BACKEND,2048,BYTES,BACKEND,SUB-EVENT,Output Spill,
0,BACKEND,0,US,BACKEND,SUB-EVENT,Missing Ops (Number of Ops with no Costs associated),
"""


def test_estimates_are_labelled_simulated_with_the_vendors_bounds() -> None:
    found = performance(read_estimates(RECORDED))
    assert found.measured_on == "simulator"
    assert (found.latency_us.low, found.latency_us.value, found.latency_us.high) == (116, 138, 165)
    assert (found.ddr_read_bytes, found.ddr_write_bytes) == (401415, 2053)


def test_what_this_machine_spent_is_no_estimate() -> None:
    assert "Graph Optimizations" not in {item.name for item in read_estimates(RECORDED)}
    assert "14237" not in estimates_csv(read_estimates(RECORDED))


def test_no_estimate_stays_unknown_and_says_why() -> None:
    emulator_costs = RECORDED.partition("0,BACKEND,0,US,BACKEND,ROOT,Performance Estimates")[0]
    found = performance(read_estimates(emulator_costs))
    assert (found.measured_on, found.latency_us, found.ddr_read_bytes) == ("not_run", None, None)
    assert "no performance estimate" in found.reason


def test_operators_without_a_cost_are_reported() -> None:
    incomplete = RECORDED.replace("0,US,BACKEND,SUB-EVENT,Missing Ops", "3,US,BACKEND,SUB-EVENT,Missing Ops")
    assert "3 operators carry no cost" in performance(read_estimates(incomplete)).reason
