"""Kubernetes quantities: `250m`, `1.5`, `512Mi`, `1e9`. Pure.

Source: Kubernetes, "Resource units in Kubernetes" and apimachinery/pkg/api/resource, 2026-11.
"""

from __future__ import annotations

import math
import re

_SUFFIX = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)")


def parse(text: object) -> float:
    """Return a quantity as a number.

    Raises:
        ValueError: It is none, or negative.
    """
    found = _FORM.fullmatch(str(text).strip())
    if found is None or found[1].startswith("-"):
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * _SUFFIX[found[2]]


def cpu(cores: float) -> str:
    """Return cores as a quantity, rounded up to a millicore."""
    return f"{math.ceil(round(cores * 1000, 6))}m"


def memory(count: float) -> str:
    """Return bytes as a quantity, rounded up to a MiB."""
    return f"{math.ceil(round(count / 2**20, 6))}Mi"
