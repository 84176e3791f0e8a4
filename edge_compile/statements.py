"""What this product says of itself in every bundle: the item, its safety argument, its tools. Pure.

These are statements, not measurements, and none of them has been reviewed by a person outside the project: where a
statement would need one, it is unknown and says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from platform_lib.handoff.model import Deployment, Item, Safety, Tensor, Tool, unknown

FUNCTION = "Plans three seconds of waypoints from a front camera, ego history and a route command"
_LIMITATIONS = (
    "Trained and tested on synthetic drives alone; nothing is known about real roads.",
    "Route commands cover lane following and lane changes; there are no junctions.",
)
_SIMULATED = "Nothing has run on the target device; latency is the vendor's simulation."
_MEASURED = "It ran on one board, as whoever signed that measurement says, on the frozen inputs alone."
ITEM = Item(
    function=FUNCTION,
    asil=unknown("no hazard analysis and risk assessment has been done"),
    sotif_reference=unknown("no ISO 21448 analysis has been done"),
    odd=unknown("no operational design domain has been written"),
    rxswin_candidates=unknown("the vehicle maker assigns it (UN R156)"),
    type_approval_relevance=unknown("depends on the vehicle it is built into"),
)
DEPLOYMENT = Deployment(
    preconditions=unknown("nothing has been deployed; an independent fallback is needed wherever it is"),
    monitors=unknown("no monitors are built yet"),
    rollback_target=unknown("there is no earlier approved bundle"),
)
FALLBACK = unknown("no fallback contract has been agreed with a vehicle")
_UNQUALIFIED = unknown("not qualified; the classification is the project's own and unreviewed")


def limitations(*, measured: bool) -> tuple[str, ...]:
    """Return what a reader has to know; `measured` says whether what ships ran on a board."""
    return (*_LIMITATIONS, _MEASURED if measured else _SIMULATED)


def safety(*, measured: bool) -> Safety:
    """Return the safety argument, of which hardly anything is written yet."""
    return Safety(
        argument=unknown("no ISO/PAS 8800 assurance argument has been written"),
        triggering_conditions_covered=unknown("no triggering conditions have been identified"),
        triggering_conditions_open=unknown("no triggering conditions have been identified"),
        residual_risks=limitations(measured=measured),
        waivers=(),
    )


# Tool -> (use, TI, TD, TCL). Source: ISO 26262-8:2018, 11.4.5. A wrong quantizer or compiler can put an error into the
# item (TI2); the parity ladder and the toolchain checks find many such errors, on the vendor's emulator only (TD2).
# Errors of the trainer and the scorer are found by the independent evaluation and the scorer's self-test (TD2).
_TOOLS: Mapping[str, tuple[str, int, int, int]] = {
    "torch": ("training and the ONNX export", 2, 2, 2),
    "onnx": ("model format", 2, 2, 2),
    "onnxruntime": ("reference and quantized execution", 2, 2, 2),
    "aimet-onnx": ("quantization", 2, 2, 2),
    "onnxruntime-qnn": ("compilation for the target and its emulator", 2, 2, 2),
    "drivetrain": ("data, scoring, gates and packing", 2, 2, 2),
}


def tools(environment: Mapping[str, str], compiler: Mapping[str, str]) -> tuple[Tool, ...]:
    """Return the confidence register of the tools behind a bundle.

    Args:
        environment: Distribution -> version of the run.
        compiler: Tool -> version as the compile report names them; they win, and those not known here are added.
    """
    found = [_tool(name, compiler.get(name) or environment.get(name), *facts) for name, facts in _TOOLS.items()]
    extra = sorted(compiler.keys() - _TOOLS.keys())
    # A tool nobody has classified gets the least confidence.
    return (*found, *(_tool(name, compiler[name], "part of the compile", 2, 3, 3) for name in extra))


def _tool(name: str, version: str | None, use: str, ti: int, td: int, tcl: int) -> Tool:
    return Tool.model_validate(
        {
            "name": name,
            "version": version or unknown("not installed where the step ran"),
            "use": use,
            "ti": ti,
            "td": td,
            "tcl": tcl,
            "qualification": _UNQUALIFIED,
        }
    )


def tensor(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Describe one tensor of the model; for those of the built-in planner also layout, unit and range."""
    silent = unknown("the ONNX file does not say")
    layout, unit, low, high = _PLANNER_TENSORS.get(name, (None, None, None, None))
    return Tensor(
        name=name,
        dtype=dtype,
        shape=shape,
        layout=layout or silent,
        unit=unit or silent,
        low=unknown("not bounded by the model") if low is None else low,
        high=unknown("not bounded by the model") if high is None else high,
    )


_PLANNER_TENSORS: Mapping[str, tuple[str, str, float | None, float | None]] = {
    "image": ("NCHW, RGB", "intensity, 0 black to 1 white", 0.0, 1.0),
    "ego_history": (
        "batch, step at 10 Hz oldest first, (speed, yaw rate, acceleration)",
        "m/s, rad/s, m/s^2",
        None,
        None,
    ),
    "command": ("batch, one-hot (lane_follow, change_lane_left, change_lane_right)", "one-hot", 0.0, 1.0),
    "plan": ("batch, step at 2 Hz, (x forward, y left) in the ego frame", "m", None, None),
}
