"""What a check of the lake finds, and how one file is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from platform_lib.catalog.model import StoredFile
from platform_lib.lake.place import LakePath, sha256_of

Kind = Literal["unfinished", "torn", "unnamed", "orphan", "unknown rows", "lost file", "damaged file", "wrong count"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        where: A path, an ingest, or a blur.
        ingest_id: Whose log has to be read again to mend it.
        blur_id: Whose frames have to be blurred again.
    """

    kind: Kind
    where: str
    what: str
    ingest_id: int | None = None
    blur_id: int | None = None


@dataclass(slots=True)
class Findings:
    """What was found so far, and how many files were compared with their digest."""

    items: list[Finding] = field(default_factory=list)
    digests: int = 0
    without_digest: int = 0

    def add(
        self, kind: Kind, where: object, what: str, *, ingest_id: int | None = None, blur_id: int | None = None
    ) -> None:
        """Note one thing."""
        self.items.append(Finding(kind, str(where), what, ingest_id, blur_id))

    def look(
        self,
        path: LakePath,
        there_bytes: int | None,
        named_bytes: int | None,
        stored: StoredFile | None,
        *,
        digests: bool,
        ingest_id: int | None,
    ) -> bool:
        """Look at a file that readers see; return whether it can be read.

        Args:
            path: Which.
            there_bytes: Its length; None where it is not there.
            named_bytes: Its length as the store notes it, if it does.
            stored: What the catalogue notes, if it does.
            digests: Read it whole.
            ingest_id: Whose log has to be read again if something is wrong.
        """
        expected = named_bytes if stored is None else stored.bytes
        self.digests += digests and stored is not None
        self.without_digest += digests and stored is None
        if there_bytes is None:
            self.add("lost file", path, "readers need it, and it is not there", ingest_id=ingest_id)
        elif expected is not None and there_bytes != expected:
            what = f"it has {there_bytes} bytes of {expected}"
            self.add("lost file", path, what, ingest_id=ingest_id)
        elif digests and stored is not None and sha256_of(path) != stored.sha256:
            self.add("damaged file", path, "its bytes are not those that were written", ingest_id=ingest_id)
        else:
            return True
        return False


def as_dict(table: pa.Table, key: str, value: str) -> Mapping[int, int]:
    """Return two columns of a table as a mapping."""
    return dict(zip(table[key].to_pylist(), table[value].to_pylist(), strict=True))
