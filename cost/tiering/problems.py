"""What could not be read, counted by its reason, with the first places named: nothing is left out silently. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

_NAMED = 3


@dataclass(slots=True)
class Problems:
    """Counts by reason.

    Attributes:
        counts: How many lines, by reason.
        places: The first few of each.
    """

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        """Count one line that was not taken."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.places.setdefault(reason, [])
        if len(named) < _NAMED:
            named.append(place)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def document(self) -> list[dict[str, object]]:
        """Return their form in JSON."""
        return [
            {"reason": reason, "lines": count, "first": self.places[reason]} for reason, count in self.counts.items()
        ]
