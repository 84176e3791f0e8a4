"""File names for streams, whatever these are called. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

_UNSAFE = re.compile(r"[^\w.-]+")
# File systems take 255 bytes; a temporary name, a suffix and a number are added.
_MOST_BYTES = 160
_KEPT_CHARACTERS = 32


def file_names(streams: Sequence[str]) -> list[str]:
    """Return a file name without suffix for each stream, no two alike, also where a file system ignores case.

    Letters and digits of any script, ``.``, ``-`` and ``_`` stay; everything else becomes ``_``. A name that is too long
    is cut, and told apart by its digest.
    """
    seen: set[str] = set()
    result = []
    for stream in streams:
        plain = candidate = _plain(stream)
        number = 2
        while _folded(candidate) in seen:
            candidate, number = f"{plain}#{number}", number + 1
        seen.add(_folded(candidate))
        result.append(candidate)
    return result


def _plain(stream: str) -> str:
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", stream)).strip("_.") or "stream"
    if len(name.encode()) <= _MOST_BYTES:
        return name
    digest = hashlib.sha256(stream.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{name[:_KEPT_CHARACTERS]}-{digest}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
