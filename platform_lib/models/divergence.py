"""When a step's loss or gradient is no number: which step, which samples, and what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from platform_lib.errors import PlatformError

_NAMED = 16


class DivergedError(PlatformError):
    """A loss or a gradient that is not finite; the weights before that step are in the last checkpoint."""

    usual_remedy: ClassVar[str] = "lower the learning rate, or look at the samples that the message names"


def diverged(
    step: int, *, loss: float, gradient: float, names: Sequence[str], batch: Mapping[str, Tensor]
) -> DivergedError:
    """Say what went wrong in a step.

    Args:
        step: The step, counted from 1.
        loss: The loss of this process's samples.
        gradient: The norm of all gradients.
        names: The N samples' ids; empty where the loader tells none.
        batch: The prepared batch, every tensor with N rows.
    """
    bad = _rows_without_number(batch)
    told = [names[row] for row in bad if row < len(names)] if bad else list(names)
    listed = ", ".join(told[:_NAMED]) + (f" and {len(told) - _NAMED} more" if len(told) > _NAMED else "")
    what = f"step {step}: the loss is {loss:g}, the gradient's norm {gradient:g}; "
    if bad:
        what += f"{len(bad)} samples hold values that are no numbers: {listed or f'rows {bad[:_NAMED]} of the batch'}"
        remedy = "leave those samples out of the dataset, or mend what they were made from"
    else:
        what += f"every input is finite. The step's samples: {listed or 'the loader names none'}"
        remedy = "lower the learning rate or lengthen the warm-up; if only these samples do it, look at their labels"
    return DivergedError(what, where="training", remedy=f"{remedy}; the state before is in the run's checkpoints")


def _rows_without_number(batch: Mapping[str, Tensor]) -> list[int]:
    rows: set[int] = set()
    for values in batch.values():
        if values.is_floating_point() and values.numel():
            finite = torch.isfinite(values).flatten(1).all(dim=1) if values.dim() > 1 else torch.isfinite(values)
            rows.update(torch.nonzero(~finite).flatten().tolist())
    return sorted(rows)
