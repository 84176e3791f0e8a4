"""Puts together again what a rewrite cut apart, so that it can be compared with the model as it was brought."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_compile.arrays import save_arrays
from edge_compile.samples import Samples
from platform_lib.errors import CompileError

_NUMPY = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(float16)": np.float16}


def as_asked(session: Any, samples: Samples) -> dict[str, NDArray[Any]]:
    """Return the samples in the types that a model was brought with; values that these do not hold are cut off.

    Raises:
        CompileError: A value is none of that type, so that the model as it was brought cannot be asked.
    """
    found: dict[str, NDArray[Any]] = {}
    for item in session.get_inputs():
        values = samples[item.name]
        kind = _NUMPY.get(item.type)
        found[item.name] = values if kind is None else values.astype(kind)
        if not np.array_equal(found[item.name].astype(np.float32), values):
            raise CompileError(
                f"the samples of '{item.name}' hold values that are no {item.type[7:-1]}, which the model was brought with",
                remedy="give its samples in that type",
            )
    return found


def rejoin(original: Any, head: Any, tail: Any, samples: Samples, ready: Samples) -> None:
    """Run the original, and the two parts that it was cut into one after the other; write what each gives.

    What is suppressed differs in size from sample to sample: each output is one row of all numbers of all samples.

    Args:
        original: A session of the model as it was brought.
        head: Of what the chip computes.
        tail: Of what is computed beside it.
        samples: Input name -> (N, *shape) of the head.
        ready: The same for the original; others, where the head preprocesses.

    Raises:
        CompileError: The parts together give another size, or no sample gives anything to compare.
    """
    names = [item.name for item in original.get_outputs()]
    before: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    after: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    asked = as_asked(original, ready)
    for row in range(len(next(iter(samples.values())))):
        one = dict(zip(names, original.run(None, {name: asked[name][row] for name in asked}), strict=True))
        values = {name: samples[name][row] for name in samples}
        values |= dict(zip([item.name for item in head.get_outputs()], head.run(None, values), strict=True))
        taken = {item.name: values[item.name] for item in tail.get_inputs()}
        values |= dict(zip([item.name for item in tail.get_outputs()], tail.run(None, taken), strict=True))
        for name in names:
            if one[name].shape != values[name].shape:
                raise CompileError(
                    f"cut at its suppression the model gives '{name}' as {values[name].shape} instead of {one[name].shape}",
                    remedy="end the graph at its boxes and scores, and export again",
                )
            before[name].append(one[name])
            after[name].append(values[name])
    if not any(array.size for arrays in before.values() for array in arrays):
        raise CompileError(
            "no frozen input has a box left after the suppression, so that nothing shows that the cut changed nothing",
            remedy="give frozen inputs in which something is found (--frozen)",
        )
    save_arrays(Path("original.outputs.npz"), _one_row(before))
    save_arrays(Path("rejoined.outputs.npz"), _one_row(after))


def _one_row(found: dict[str, list[NDArray[Any]]]) -> Samples:
    rows = {name: np.concatenate([np.ravel(item) for item in items]) for name, items in found.items()}
    return {name: row.astype(np.float32)[np.newaxis] for name, row in rows.items() if row.size}
