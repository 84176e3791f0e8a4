"""Stream names as people type them: quoted for a shell, found by their end, and what was meant by a wrong one. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches

_MOST_SHOWN = 5
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def quoted(name: str) -> str:
    r"""Return a name as a shell takes it back: as it is where that is safe, quoted, or ``$'\x1b'`` (bash, zsh)."""
    if not _NOT_PLAIN.search(name):
        return shlex.quote(name)
    text = name.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _NOT_PLAIN.sub(lambda found: _escaped(ord(found[0])), text) + "'"


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def meant(name: str, names: Sequence[str]) -> str:
    """Return the name that `name` is short for: the only one that ends with it after ``:`` or ``/``; else `name`."""
    if not name or name in names:
        return name
    found = [item for item in names if item.endswith((f":{name}", f"/{name}"))]
    return found[0] if len(found) == 1 else name


def fitting(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names that a pattern with ``*`` (any text) or ``?`` (any letter) fits; none if it is a name itself."""
    if pattern in names or not {"*", "?"} & set(pattern):
        return []
    text = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return [name for name in names if re.fullmatch(text, name, re.DOTALL)]


def hint(name: str, names: Sequence[str]) -> str:
    """Say what to do about a name that no stream has, in view of the names that there are."""
    part = name.casefold()
    found = [item for item in names if part and part in item.casefold()]
    if not found:
        keys = {re.split("[:/]", item.casefold())[-1]: item for item in names}
        keys |= {item.casefold(): item for item in names}
        found = list(dict.fromkeys(keys[key] for key in get_close_matches(part, keys)))
    listed = ", ".join(quoted(item) for item in (found or names)[:_MOST_SHOWN])
    if found:
        return f"did you mean {listed}? `drivetrain log info` lists them all"
    return f"`drivetrain log info` lists them; the first are: {listed}" if names else "the log has no streams"
