"""Adds up flow records, each byte once, whoever recorded it. Pure; its memory follows the parties, not the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cost.network.addresses import AddressBook
from cost.network.model import FlowRecord, Kind, Party, Route, Zone

SLOT_S = 600
"""Records fill ten-minute slots: the longest window that AWS aggregates over."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What one party sent another over the whole time.

    Attributes:
        source: The sender.
        target: The receiver.
        size_bytes: How much, each byte once.
        route: The way out of the network, of what left it.
        server: Which end serves: `source`, `target`, or empty where that is not known.
        service: Of what a NAT gateway forwards: what lies behind it; empty where that is not known.
    """

    source: Party
    target: Party
    size_bytes: int
    route: Route
    server: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """All that was recorded.

    Attributes:
        flows: Between parties, each byte once; what NAT gateways forward is in `nat_inside` and `nat_outside`.
        nat_inside: Between a party and a NAT gateway, by whom.
        nat_outside: Between a NAT gateway and what lies outside, by which service.
        covered_s: Length of the time that has records: ten-minute slots.
        first_s: Its begin; None without a record.
        last_s: Its end.
        rejected_bytes: Of flows that were not let through.
        twice_bytes: Recorded by a second interface as well, and not counted again.
        packet: Whether every record told the addresses of packets.
    """

    flows: tuple[Flow, ...]
    nat_inside: tuple[Flow, ...]
    nat_outside: tuple[Flow, ...]
    covered_s: int
    first_s: int | None
    last_s: int | None
    rejected_bytes: int
    twice_bytes: int
    packet: bool


_Key = tuple[Party, Party, str, str, Route, str]
_Ends = tuple[Party, Party, Route, str]
_Forwarded = tuple[Party, Party, str]


@dataclass
class Ledger:
    """Takes records one by one; `settle` decides which of several observers of a flow is counted."""

    book: AddressBook
    _sums: dict[_Key, int] = field(default_factory=lambda: defaultdict(int))
    _slots: set[int] = field(default_factory=set)
    _instances: dict[str, str] = field(default_factory=dict)
    _zones: dict[str, Zone] = field(default_factory=dict)
    _first_s: int | None = None
    _last_s: int | None = None
    _rejected: int = 0
    _packet: bool = True

    def add(self, record: FlowRecord) -> None:
        """Add one record.

        Raises:
            ValueError: One of its addresses is none.
        """
        find, start, end = self.book.find, record.start_s, record.end_s
        source = find(record.source, start, end, record.source_service)
        target = find(record.target, start, end, record.target_service)
        self.cover(start, end)
        self._packet &= record.packet
        if not record.accepted:
            self._rejected += record.size_bytes
            return
        observer = record.interface or self.book.gateway(record.near_source, record.near_target) or record.direction
        if record.interface:
            if record.instance:
                self._instances[record.interface] = record.instance
            if record.zone_id:
                self._zones[record.interface] = Zone(None, record.zone_id, record.account or None)
        route = record.route if record.direction != "ingress" else Route.UNKNOWN
        self._sums[source, target, observer, record.direction, route, record.server] += record.size_bytes

    def cover(self, start_s: int, end_s: int) -> None:
        """Note a window that was recorded, with traffic or without: it is part of the time that is taken for a month."""
        self._slots.add(start_s // SLOT_S)
        self._first_s = start_s if self._first_s is None else min(self._first_s, start_s)
        self._last_s = end_s if self._last_s is None else max(self._last_s, end_s)

    def settle(self) -> Traffic:
        """Return what was sent, each byte once."""
        hosts = _Hosts(self.book, self._instances, self._zones, self._sums)
        sides: dict[tuple[str, str], dict[str, dict[_Ends, int]]] = {}
        inside: dict[_Forwarded, int] = defaultdict(int)
        outside: dict[_Forwarded, int] = defaultdict(int)
        for (source, target, observer, direction, route, server), size in self._sums.items():
            # A gateway's addresses stand in its own interface's records alone: other interfaces see the far end's.
            candidates = (self.book.interfaces.get(observer), source, target)
            gate = next((item for item in candidates if item is not None and item.kind is Kind.NAT), None)
            if gate is not None:
                _through_nat(gate, source, target, size, inside, outside)
                continue
            side, sender, receiver = hosts.side(source, target, observer, direction)
            pair = (sender.host or sender.name, receiver.host or receiver.name)
            sums = sides.setdefault(pair, {}).setdefault(side, defaultdict(int))
            sums[sender, receiver, route, server] += size
        flows, twice = _one_side_each(sides)
        return Traffic(
            flows, _as_flows(inside), _as_flows(outside), len(self._slots) * SLOT_S, self._first_s, self._last_s,
            self._rejected, twice, self._packet,
        )  # fmt: skip


@dataclass
class _Hosts:
    """Whose interface recorded a flow: it tells the sender's record from the receiver's."""

    book: AddressBook
    instances: Mapping[str, str]
    zones: Mapping[str, Zone]
    sums: Mapping[_Key, int]
    _of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        votes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for source, target, observer, direction, _, _ in self.sums:
            for host, own in ((source.host, "egress"), (target.host, "ingress")):
                if host and direction in {"", own}:
                    votes[observer][host] += 1
        for observer, counted in votes.items():
            known = self.book.interfaces.get(observer)
            node = self.book.instances.get(self.instances.get(observer, ""))
            named = known.host if known is not None else node
            if named in counted:  # not of a branch interface, whose one address is a pod's
                self._of[observer] = str(named)
                continue
            most = sorted(counted.items(), key=lambda item: -item[1])
            # Every record of an interface has its host at one end; with one record alone both ends have a vote each.
            if len(most) == 1 or most[0][1] > most[1][1]:
                self._of[observer] = most[0][0]

    def side(self, source: Party, target: Party, observer: str, direction: str) -> tuple[str, Party, Party]:
        """Return which side recorded a flow, and its parties with the zone that this tells of an unknown one."""
        host = self._of.get(observer)
        side = direction
        if not side and host is not None and (source.host == host) is not (target.host == host):
            side = "egress" if source.host == host else "ingress"
        if side == "egress":
            source = self._placed(source, observer, host)
        elif side == "ingress":
            target = self._placed(target, observer, host)
        return side or f"by {observer}", source, target

    def _placed(self, party: Party, observer: str, host: str | None) -> Party:
        if not party.inside or party.zone is not None or observer in {"ingress", "egress"}:
            return party
        zone = self.zones.get(observer)
        if zone is None and host is not None and host != party.host:
            node = self.book.nodes.get(host)
            zone = None if node is None else node.zone
        return party if zone is None else replace(party, zone=zone)


def _through_nat(
    gate: Party,
    source: Party,
    target: Party,
    size: int,
    inside: dict[_Forwarded, int],
    outside: dict[_Forwarded, int],
) -> None:
    """Book what a NAT gateway's interface recorded: each byte passes it twice, once on the inner, once on the outer side."""
    if source.kind is Kind.NAT:
        (inside if target.inside else outside)[gate, target, ""] += size
    elif target.kind is Kind.NAT:
        (inside if source.inside else outside)[source, gate, ""] += size
    elif source.inside:
        inside[source, gate, target.name] += size
    elif target.inside:
        inside[gate, target, source.name] += size


def _one_side_each(
    sides: Mapping[tuple[str, str], Mapping[str, Mapping[_Ends, int]]],
) -> tuple[tuple[Flow, ...], int]:
    """Take of each pair of hosts the side that recorded most; a tie is the sender's."""
    sums: dict[_Ends, int] = defaultdict(int)
    twice = 0
    for by_side in sides.values():
        totals = {side: sum(found.values()) for side, found in by_side.items()}
        chosen = max(totals, key=lambda side: (totals[side], side == "egress", side))
        twice += sum(totals.values()) - totals[chosen]
        for key, size in by_side[chosen].items():
            sums[key] += size
    flows = sorted((Flow(s, t, size, route, server) for (s, t, route, server), size in sums.items()), key=_order)
    return tuple(flows), twice


def _as_flows(sums: Mapping[_Forwarded, int]) -> tuple[Flow, ...]:
    made = (Flow(s, t, size, Route.UNKNOWN, service=service) for (s, t, service), size in sums.items())
    return tuple(sorted(made, key=_order))


def _order(flow: Flow) -> tuple[int, str, str, str]:
    return -flow.size_bytes, flow.source.name, flow.target.name, flow.route + flow.server + flow.service


def between(flows: Iterable[Flow]) -> Iterator[Flow]:
    """Yield the flows whose both ends lie in the network."""
    return (item for item in flows if item.source.inside and item.target.inside)
