"""What is assumed of two recorders whose clocks are compared."""

from __future__ import annotations

from dataclasses import dataclass

from platform_lib.errors import ContractError
from platform_lib.timeline.grid import GridRules


@dataclass(frozen=True, slots=True)
class AlignmentOptions:
    """What is assumed of the two recorders.

    Attributes:
        max_offset_s: Offsets beyond this are not searched.
        drift_prior_ppm: Standard deviation of clock drift before anything is seen; a plain crystal keeps 50 ppm.
        grid_s: Step of the common grid.
        smooth_s: Standard deviation of the Gaussian both signals are smoothed with.
        max_gap_s: Neighbouring samples farther apart than this are not joined.
        window_s: Length of the windows whose scatter checks the uncertainty.
        coarse_span_s: The coarse stage looks at the liveliest stretch of this length.
        lobe_s: The coarse peak's half width; another offset outside it that fits as well means ambiguity.
        floor_s: Uncertainty that no amount of data removes: a bus message sent every 10 ms is 0 to 10 ms old.
        max_sigma_s: With a larger uncertainty than this at its best no clock is returned. 3 ms: of what passes, and
            little of it comes near, 99 % is within 5 ms.
        max_end_sigma_s: The same for any time of the drive: drift makes its ends the worst.
    """

    max_offset_s: float = 2.5
    drift_prior_ppm: float = 50.0
    grid_s: float = 0.01
    smooth_s: float = 0.1
    max_gap_s: float = 0.25
    window_s: float = 2.5
    coarse_span_s: float = 120.0
    lobe_s: float = 0.3
    floor_s: float = 0.002
    max_sigma_s: float = 0.003
    max_end_sigma_s: float = 0.004

    def __post_init__(self) -> None:
        if not (0.0 < self.grid_s <= self.smooth_s < self.lobe_s < self.max_offset_s):
            raise ContractError(
                "grid_s <= smooth_s < lobe_s < max_offset_s does not hold", where="timeline.AlignmentOptions"
            )

    @property
    def grid_rules(self) -> GridRules:
        """How recordings are put on the common grid."""
        return GridRules(self.grid_s, self.smooth_s, self.max_gap_s)
