"""Checks calibration inputs, frozen inputs and reference outputs against the model's own shapes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ContractError

# Beyond this a number is a wrong unit or a sentinel, not a sensor value; one such value would stretch the quantization
# grid of the whole input. Camera, kinematics and map coordinates in metres stay far below it.
LARGEST_MAGNITUDE = 1e6

Samples = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model: its name and static shape, batch included.

    Attributes:
        brought_as: The type of the samples that are taken beside float32, where the model was brought with it.
    """

    name: str
    shape: tuple[int, ...]
    brought_as: str = "float32"


def check_samples(role: str, arrays: Mapping[str, NDArray[np.generic]], specs: tuple[TensorSpec, ...]) -> Samples:
    """Return the arrays as (N, *shape with batch), in the order of `specs`.

    Args:
        role: ``calibration`` or ``frozen``, for the message.
        arrays: Name -> (N, *shape); the batch axis may be left out where it is 1.
        specs: The model's inputs.

    Raises:
        ContractError: A name is missing or unknown, a shape or dtype is wrong, there is no sample, the numbers of
            samples differ, or a value is NaN, infinite or beyond any sensor's range.
    """
    return _check_all(role, arrays, specs, largest=LARGEST_MAGNITUDE)


def check_outputs(arrays: Mapping[str, NDArray[np.generic]], specs: tuple[TensorSpec, ...], *, count: int) -> Samples:
    """Check reference outputs as `check_samples` does, but for the range: `count` samples of every output.

    Raises:
        ContractError: A name, shape, dtype, value or the number of samples is wrong.
    """
    checked = _check_all("reference", arrays, specs, largest=float("inf"))
    if (found := len(next(iter(checked.values())))) != count:
        raise ContractError(f"reference has {found} samples, the frozen inputs {count}", remedy="give one for each")
    return checked


def check_varied(calibration: Samples) -> None:
    """Refuse an input that has one value in all calibration samples: its grid would hold that value and nothing else.

    Raises:
        ContractError: All numbers of an input are one and the same; a single number may be.
    """
    for name, values in calibration.items():
        if values[0].size > 1 and len(values) > 1 and values.min() == values.max():
            raise ContractError(
                f"every value is {values.flat[0]:g}, so that nothing else could be told apart after quantization",
                where=f"calibration '{name}'",
                remedy="give recorded samples; what never changes belongs into the graph as a constant",
            )


def samples_sha256(samples: Samples) -> str:
    """Return a digest over names, shapes and values, in name order; the file they came from does not matter."""
    digest = hashlib.sha256()
    for name in sorted(samples):
        array = np.ascontiguousarray(samples[name], dtype="<f4")
        digest.update(f"{name}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def beyond_calibration(calibration: Samples, frozen: Samples) -> dict[str, float]:
    """Return, for each input where it is above 1 %, the share of frozen values outside the calibrated range."""
    found = {}
    for name, values in frozen.items():
        low, high = calibration[name].min(), calibration[name].max()
        share = float(np.mean((values < low) | (values > high)))
        if share > 0.01:
            found[name] = share
    return found


def _check_all(
    role: str, arrays: Mapping[str, NDArray[np.generic]], specs: tuple[TensorSpec, ...], *, largest: float
) -> Samples:
    expected = {spec.name for spec in specs}
    if not isinstance(arrays, Mapping):
        raise ContractError(
            f"{role} is a {type(arrays).__name__}, not arrays by name",
            remedy=f"give a dict with: {', '.join(sorted(expected))}",
        )
    if missing := sorted(expected - set(arrays)):
        raise ContractError(f"{role} lacks '{missing[0]}'", remedy=f"give arrays for: {', '.join(sorted(expected))}")
    if unknown := sorted(set(arrays) - expected):
        raise ContractError(
            f"{role} has '{unknown[0]}', which the model does not", remedy=f"give: {', '.join(sorted(expected))}"
        )
    checked = {spec.name: _check_one(role, np.asarray(arrays[spec.name]), spec, largest=largest) for spec in specs}
    counts = {name: len(array) for name, array in checked.items()}
    if len(set(counts.values())) > 1:
        raise ContractError(f"{role} has differing numbers of samples: {counts}", remedy="give N of each")
    return checked


def _check_one(role: str, array: NDArray[np.generic], spec: TensorSpec, *, largest: float) -> NDArray[np.float32]:
    where = f"{role} '{spec.name}'"
    if array.dtype not in (np.dtype(np.float32), np.dtype(spec.brought_as)):
        raise ContractError(
            f"dtype is {array.dtype}, not float32", where=where, remedy="convert it: x.astype('float32')"
        )
    shapes = [spec.shape] + ([spec.shape[1:]] if spec.shape[:1] == (1,) else [])
    if array.ndim == 0 or array.shape[1:] not in shapes:
        wanted = " or ".join(f"(N, {', '.join(map(str, shape))})" for shape in shapes)
        raise ContractError(f"shape is {array.shape}, not {wanted}", where=where, remedy="give N samples of that shape")
    if len(array) < 1:
        raise ContractError("there is no sample", where=where, remedy="give at least one; some hundred are better")
    values = np.ascontiguousarray(array, dtype=np.float32).reshape(len(array), *spec.shape)
    finite = np.isfinite(values)
    if not finite.all():
        bad = int(np.argmin(finite.reshape(len(values), -1).all(axis=1)))
        raise ContractError(f"sample {bad} holds NaN or infinity", where=where, remedy="leave that sample out")
    magnitude = float(np.abs(values).max())
    if magnitude > largest:
        raise ContractError(
            f"out of range: a value of magnitude {magnitude:.3g} (at most {largest:.0e})",
            where=where,
            remedy="check its unit, and leave sentinels out",
        )
    return values
