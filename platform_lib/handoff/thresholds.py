"""The written thresholds that evidence is judged against; pure."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

PositiveMetres = Annotated[float, Field(gt=0.0)]
Rate = Annotated[float, Field(ge=0.0, le=1.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SliceLimits(_Strict):
    """Open-loop limits of one slice; the upper end of the 95 % interval has to lie at or under them."""

    ade_m: PositiveMetres
    fde_m: PositiveMetres


class FloatModel(_Strict):
    """What the float model has to reach.

    Attributes:
        planner: The planner judged, as the evaluation names it.
        baseline: The planner that sees nothing, to be beaten where the scene matters.
        min_drives: Distinct drives a slice needs before its interval is believed.
        min_samples: Samples it needs.
        slices: Slice -> limits.
        scene: The slice that pools all frames in which the scene decides; the comparison is made on it.
        scene_slices: Its parts; on none of them may the planner be worse than the baseline beyond doubt.
        closed_loop_max_collision_rate: Collisions per closed-loop episode.
    """

    planner: str
    baseline: str
    min_drives: int = Field(ge=2)
    min_samples: int = Field(ge=1)
    slices: dict[str, SliceLimits] = Field(min_length=1)
    scene: str
    scene_slices: tuple[str, ...] = Field(min_length=1)
    closed_loop_max_collision_rate: Rate


class Regression(_Strict):
    """How much slower, larger and hungrier than the last released artefact a new one may be, as shares of it."""

    max_latency_increase: Rate = 0.05
    max_size_increase: Rate = 0.05
    max_traffic_increase: Rate = 0.10


class Released(_Strict):
    """Figures of the artefact released last, as its compile report has them; `drivetrain gate --released` reads them.

    Attributes:
        latency_us: None where its maker's tools gave none.
        ddr_bytes: Read from and written to memory per inference.
    """

    model_name: str
    target: str
    precision: str
    report_sha256: str
    measured_on: str
    latency_us: float | None
    size_bytes: int
    ddr_bytes: int | None


class GateWaiver(_Strict):
    """A dated exception: one gate that could not be run for one chip does not keep a model from approval until a day.

    Only what has no figure is waived, never a failure.
    """

    gate: Literal["G4 latency"]
    target: str
    until: date
    approved_by: Annotated[str, StringConstraints(min_length=1)]
    why: Annotated[str, StringConstraints(min_length=1)]


class Compression(_Strict):
    """What compression may cost.

    Attributes:
        max_ade_increase_m: Largest growth of a slice's ADE against the float model, on the same frames.
        max_fde_increase_m: The same for the FDE.
        reference_precision: The float build on the same target that the compressed one has to outrun.
        required_checks: Toolchain checks that have to be in the compile report, and pass.
        required_checks_for: Precision -> the same of another maker's toolchain, instead of those.
        regression: What may be lost against the last released artefact.
        released: That artefact; without it nothing is compared.
    """

    max_ade_increase_m: PositiveMetres
    max_fde_increase_m: PositiveMetres
    reference_precision: str
    required_checks: tuple[str, ...] = Field(min_length=1)
    required_checks_for: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    regression: Regression = Regression()
    released: Released | None = None


class Splits(_Strict):
    """How closely splits have to have been compared before they count as independent.

    Attributes:
        near_duplicate_bits: Frames were searched for that differ in up to so many of 256 bits, at least.
        place_reach_m: Samples nearer than this were certain to be seen as of one place, at least.
        trip_gap_s: Recordings of one vehicle less than this apart counted as one trip, at least.
        max_unknown_share: Share of samples that may show nothing, or have no position.
    """

    near_duplicate_bits: int = Field(ge=1, le=255)
    place_reach_m: PositiveMetres
    trip_gap_s: int = Field(ge=0)
    max_unknown_share: Rate


class RungFloor(_Strict):
    """One rung the parity ladder must hold.

    Attributes:
        name: As the compile report names it.
        min_db: Precision -> the lowest SQNR a compile may ask of this rung; a laxer tolerance does not count. A rung
            with ``fp32`` is that of the float model, any other is that of the precision that ships.
        min_samples: Frozen inputs compared at least.
        absent_for: Precisions whose toolchain has no such rung, and which it therefore does not keep back. One that has
            neither a floor nor a place here keeps the gate open.
    """

    name: str
    min_db: dict[str, float] = Field(min_length=1)
    min_samples: int = Field(ge=1)
    absent_for: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if both := sorted(self.min_db.keys() & set(self.absent_for)):
            raise ValueError(f"the rung {self.name} has a floor for {both[0]}, and is absent for it")
        return self


class Parity(_Strict):
    """The rungs that must be there, and the one that runs on the device."""

    rungs: tuple[RungFloor, ...] = Field(min_length=1)
    device_rung: RungFloor


class Privacy(_Strict):
    """What a blur has to reach where a dataset has blurred samples.

    Attributes:
        min_blur_recall: Kind (``face``, ``plate``) -> the least lower bound of its recall.
    """

    min_blur_recall: dict[str, Rate] = Field(min_length=1)


class Thresholds(_Strict):
    """All written thresholds of one product: ``thresholds.yaml``; without `privacy` no blurred dataset passes."""

    schema_version: Literal[1]
    splits: Splits = Splits(near_duplicate_bits=8, place_reach_m=50.0, trip_gap_s=600, max_unknown_share=0.01)
    float_model: FloatModel
    compression: Compression
    parity: Parity
    privacy: Privacy | None = None
    waivers: tuple[GateWaiver, ...] = ()
