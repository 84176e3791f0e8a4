"""Where a loader stands in its epochs: told as JSON values, and taken up again by a loader of the same data and order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from platform_lib.errors import ConfigError


class Position:
    """An epoch and a step of it; what loaders of every kind have in common.

    Args:
        steps: Steps of a whole epoch, the same in each.
        identity: All that decides the order: a state of another one is refused.
    """

    def __init__(self, *, steps: int, identity: Mapping[str, JsonValue]) -> None:
        self._steps, self._identity = steps, dict(identity)
        self._epoch = self._step = 0

    def __len__(self) -> int:
        """Return the steps of a whole epoch; the same for every part."""
        return self._steps

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration reads, or goes on with."""
        return self._epoch

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is: after the last batch that it handed out. Give it to `load_state_dict` of a new one."""
        return {"epoch": self._epoch, "step": self._step, "of": self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was taken before `state_dict`.

        Raises:
            ConfigError: The state is of another dataset, split, seed, batch, part, rules or number of workers: the
                order would differ.
        """
        of = state.get("of")
        if of != self._identity:
            kept = of if isinstance(of, dict) else {}
            names = sorted({*self._identity, *kept})
            differ = [name for name in names if kept.get(name) != self._identity.get(name)]
            raise ConfigError(
                f"the state is of another {', '.join(differ) or 'loader'}",
                where=type(self).__name__,
                remedy="resume with what it was begun with, or begin an epoch anew",
            )
        self.seek(epoch=int(state["epoch"]), step=int(state["step"]))

    def seek(self, *, epoch: int, step: int) -> None:
        """Go to a step of an epoch.

        Raises:
            ConfigError: There is no such step.
        """
        if epoch < 0 or not 0 <= step <= self._steps:
            raise ConfigError(f"no step {step} of epoch {epoch}", where=type(self).__name__)
        self._epoch, self._step = epoch, step
