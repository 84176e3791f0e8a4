"""The gates a model has to pass on its way into a vehicle, and what their results add up to; pure.

Source: the release process of this platform, gates 0 to 8. A gate that is judged from several kinds of evidence is
split, so that the part that was not run is named alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from platform_lib.evidence import GateResult, Status

State = Literal["rejected", "candidate", "approved"]

GATES: dict[str, str] = {
    "G0 evidence": "the evidence belongs together",
    "G0 PII": "no sample shows an identifiable person",
    "G0 contract": "the dataset meets its data contract",
    "G1 drives": "no drive is in two splits",
    "G1 near-duplicates": "no near-duplicate frames across splits",
    "G1 places": "no place and no trip is in two splits",
    "G2 scorer": "known agents get their known scores",
    "G3 limits": "errors under the limits on every slice",
    "G3 camera": "seeing beats not seeing where the scene matters",
    "G3 closed loop": "collisions in closed loop",
    "G3 champion": "not inferior to the champion",
    "G4 margins": "compression costs no slice more than its margin",
    "G4 NPU": "every node on the NPU, none in float",
    "G4 latency": "compressed is faster than float",
    "G4 regression": "no slower, larger or hungrier than the last released",
    "G4 toolchain": "no silent failure of the toolchain",
    "G5 ladder": "parity on every rung of the ladder",
    "G5 device": "parity on the device",
    "G6 reproduce": "a second build gives the same result",
    "G7 approval": "two people approved, the author not one of them",
    "G8 deployment": "drift, false alarms and rollback after deployment",
}


def state_of(results: Iterable[GateResult]) -> State:
    """Say what gate results add up to.

    A failure rejects. Approval takes a pass from every gate of `GATES`, each judged once; whatever is missing, not run
    or judged twice leaves a candidate. A gate that was not run and is waived until a day counts as settled.
    """
    listed = list(results)
    if any(result.status == "fail" for result in listed):
        return "rejected"
    return "candidate" if blocking(listed) else "approved"


def blocking(results: Iterable[GateResult]) -> tuple[str, ...]:
    """Name every gate that keeps a bundle from approval, in the order of `GATES`, then unknown and doubled ones."""
    listed = list(results)
    settled = [result.gate for result in listed if _settled(result)]
    open_known = [
        gate
        for gate in GATES
        if settled.count(gate) != 1 or any(result.gate == gate and not _settled(result) for result in listed)
    ]
    unknown = {result.gate for result in listed if result.gate not in GATES}
    return (*open_known, *sorted(unknown))


def worst(statuses: Iterable[Status]) -> Status:
    """Combine the parts of one gate: any failure fails, nothing at all or any part not run is not run."""
    listed = list(statuses)
    if "fail" in listed:
        return "fail"
    return "not_run" if not listed or "not_run" in listed else "pass"


def _settled(result: GateResult) -> bool:
    return result.status == "pass" or (result.status == "not_run" and result.waived_until is not None)
