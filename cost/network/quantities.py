"""Kubernetes' quantities and times as numbers. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil

_FORM = re.compile(r"([+-]?[0-9]*\.?[0-9]+)(?:([eE][+-]?[0-9]+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E))?")
_FACTORS = {
    None: Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip


def amount_of(resource: str, quantity: object) -> int:
    """Return a quantity as a whole number: thousandths of a core for `cpu`, units or bytes for the rest; rounded up.

    Source: Kubernetes API conventions, `k8s.io/apimachinery/pkg/api/resource.Quantity`.

    Raises:
        ValueError: It is no quantity.
    """
    found = _FORM.fullmatch(str(quantity).strip())
    if found is None:
        raise ValueError(f"{quantity!r} is no quantity")
    value = Decimal(found[1] + (found[2] or "")) * _FACTORS[found[3]]
    return ceil(value * 1000 if resource == "cpu" else value)


def seconds_of(text: str) -> int:
    """Return a time of RFC 3339 as seconds since the UTC epoch.

    Raises:
        ValueError: It is none, or has no zone.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return int(found.astimezone(UTC).timestamp())
