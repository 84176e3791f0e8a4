"""Which logs have come to rest, and when one that could not be read is tried again (pure)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field

LONGEST_WAIT_S = 300.0
"""A log that cannot be read is tried again at least so often."""


@dataclass(slots=True)
class Settling:
    """Tells which names have come to rest. A name is given once for each mark it rests at, and again after a failure.

    Attributes:
        settle_s: How long a mark has to stay.
        retry_s: Wait before a name that could not be read is given again; each is twice the one before, up to
            `LONGEST_WAIT_S`.
    """

    settle_s: float
    retry_s: float = 5.0
    _since: dict[str, tuple[Hashable, float]] = field(default_factory=dict)
    _given: dict[str, Hashable] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)

    def look(
        self,
        marks: Mapping[str, Hashable],
        now_s: float,
        *,
        at_once: frozenset[str] = frozenset(),
        unseen: Collection[str] = (),
    ) -> list[str]:
        """Take what is there now; return the names that are ready.

        Args:
            marks: Name -> mark by which a change shows.
            now_s: Of a clock that only goes forward.
            at_once: Names that need no rest.
            unseen: Names of which nobody could tell now whether they are there: what is known of them stays.
        """
        kept = {name: mark for name in unseen if name not in marks and (mark := self._since.get(name)) is not None}
        self._since = kept | {
            name: self._since[name] if name in self._since and self._since[name][0] == mark else (mark, now_s)
            for name, mark in marks.items()
        }
        for name in [name for name in self._failures if name not in self._since]:
            self._forget(name)
        ready = [name for name in marks if self._is_ready(name, now_s, at_once=name in at_once)]
        self._given = {name: mark for name, mark in self._given.items() if name in self._since}
        self._given |= {name: marks[name] for name in ready}
        return ready

    def _is_ready(self, name: str, now_s: float, *, at_once: bool) -> bool:
        mark, since_s = self._since[name]
        if self._given.get(name) == mark:
            is_due = name in self._due and self._due[name] <= now_s
            if is_due:
                del self._due[name]
            return is_due
        if not at_once and now_s - since_s < self.settle_s:
            return False
        self._forget(name)
        return True

    def _forget(self, name: str) -> None:
        self._failures.pop(name, None)
        self._due.pop(name, None)

    def failed(self, name: str, now_s: float) -> None:
        """Give a name once more after a while, though it has not changed: it could not be read."""
        failures = self._failures.get(name, 0)
        self._failures[name] = failures + 1
        self._due[name] = now_s + min(self.retry_s * 2.0 ** min(failures, 30), LONGEST_WAIT_S)

    @property
    def waiting(self) -> int:
        """How many names have not come to rest."""
        return sum(self._given.get(name) != mark for name, (mark, _) in self._since.items())
