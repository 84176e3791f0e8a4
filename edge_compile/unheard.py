"""Options that the compiler of a target would not hear: refused, since a wish ignored in silence looks like one that was met."""

from __future__ import annotations

from collections.abc import Mapping

from platform_lib.errors import ConfigError


def check_heard(target: str, asked: Mapping[str, bool]) -> None:
    """Refuse what was asked for and would change nothing.

    Args:
        target: Its name.
        asked: Option -> whether it was given, of those that this target's compile does not read.

    Raises:
        ConfigError: One of them was given.
    """
    if given := [option for option, wanted in asked.items() if wanted]:
        raise ConfigError(
            f"{', '.join(given)} would be ignored for '{target}'",
            where=given[0],
            remedy="leave it out: it is for chips of another maker's compiler",
        )
