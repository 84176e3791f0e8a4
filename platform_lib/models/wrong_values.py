"""Values of a configuration that cannot be, named before anything starts: a dataclass takes whatever it is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from platform_lib.errors import ConfigError


def refuse_wrong(what: str, problems: Mapping[str, str | None]) -> None:
    """Name every field that is wrong.

    Args:
        what: The configuration's class.
        problems: Field -> what is wrong with it, None where nothing is.

    Raises:
        ConfigError: Something is.
    """
    found = [f"{name} {problem}" for name, problem in problems.items() if problem is not None]
    if found:
        raise ConfigError("; ".join(found), where=what, remedy="mend the recipe")


def whole(value: object, *, least: int) -> str | None:
    """Say what keeps a value from being a whole number of at least so much."""
    if isinstance(value, bool) or not isinstance(value, int):
        return f"is {value!r}, and has to be a whole number"
    return None if value >= least else f"is {value}, and has to be at least {least}"


def number(
    value: object, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> str | None:
    """Say what keeps a value from being a finite number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"is {value!r}, and has to be a number"
    if above is not None and not value > above:
        return f"is {value:g}, and has to be above {above:g}"
    if least is not None and value < least:
        return f"is {value:g}, and has to be at least {least:g}"
    return f"is {value:g}, and has to be at most {most:g}" if most is not None and value > most else None


def one_of(value: object, values: Sequence[object]) -> str | None:
    """Say what keeps a value from being one of some."""
    known = any(value is item or (isinstance(value, str) and value == item) for item in values)
    return None if known else f"is {value!r}, and has to be one of {', '.join(map(str, values))}"
