"""Times, keys and names as people type them: read, or refused by a sentence."""

from __future__ import annotations

import pytest

from platform_lib.catalog.lineage_commands import _subject
from platform_lib.catalog.paging import parse_key, parse_moment
from platform_lib.erasure.scope import parse_time
from platform_lib.errors import ConfigError

_NO_NUMBERS = ("9" * 26, str(1 << 63), "--5", "\u0663", "5-", "1" * 5000, "12.5", "")
"""Beyond 64 bits, two signs, another script's digit, ...: the database, or `int`, would refuse them by a traceback."""


def test_what_is_a_time_or_a_key_is_read() -> None:
    assert parse_moment("1970-01-01T00:00:01Z", where="--since") == 1_000_000_000
    assert parse_moment("-5", where="--since") == parse_time("-5", where="--from") == -5
    assert parse_time(str((1 << 63) - 1), where="--to") == (1 << 63) - 1
    assert parse_key("1780300800000000000/-7") == (1780300800000000000, -7)


@pytest.mark.parametrize("text", _NO_NUMBERS)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        parse_moment(text, where="--since")
    with pytest.raises(ConfigError, match="is no time"):
        parse_time(text, where="--from")
    with pytest.raises(ConfigError, match="is no page's key"):
        parse_key(f"1/{text}")
    with pytest.raises(ConfigError, match="is no clip"):
        _subject(None, "clip", f"drive/{text}")  # type: ignore[arg-type]  # it is refused before anything is asked
