"""Ray Tune's door to Optuna, with every trial's last epoch told too."""

from __future__ import annotations

from typing import Any

from ray.tune.result import TRAINING_ITERATION
from ray.tune.search.optuna import OptunaSearch


class WholeCurves(OptunaSearch):  # type: ignore[misc]  # Ray publishes no types
    """Reports the result after which a trial ends as one of its epochs.

    Ray leaves out the result that ends a trial, so Optuna's record of a curve would lack its last epoch, and nobody could
    tell a trial that was cut just before the end from a whole one.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._told: dict[str, int] = {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch once."""
        if result[TRAINING_ITERATION] > self._told.get(trial_id, 0):
            super().on_trial_result(trial_id, result)
            self._told[trial_id] = result[TRAINING_ITERATION]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's signature
        """Report the last epoch, then the end."""
        if result and not error and self._metric in result:
            self.on_trial_result(trial_id, result)
        super().on_trial_complete(trial_id, result, error)
