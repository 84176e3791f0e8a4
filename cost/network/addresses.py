"""Whose an address was at a time: pods come and go and their addresses are used again. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import pairwise

from cost.network.cluster import Node, Pod
from cost.network.interfaces import Interface, ServiceRange
from cost.network.model import Kind, Party, Zone

_MOST_UNKNOWN = 10_000
"""Distinct addresses nobody owns that are kept apart; further ones are one party, so that a port scan fills no memory."""
_CACHED = 200_000
INTERNET = Party(Kind.INTERNET, "internet")
REST = Party(Kind.UNKNOWN, "further addresses")
_GENERAL = frozenset({"AMAZON", "EC2"})
"""Names that say only that AWS owns the address: a customer's machine has one of them too."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What ran at a time.

    Attributes:
        taken_s: When the list was made, seconds since the UTC epoch.
        pods: What was in it.
    """

    taken_s: int
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class _Holder:
    start_s: int
    end_s: int | None
    party: Party

    def overlaps(self, start_s: int, end_s: int) -> bool:
        return self.start_s <= end_s and (self.end_s is None or self.end_s > start_s)


class AddressBook:
    """Tells whose an address was while a flow was recorded.

    Args:
        nodes: Of all snapshots.
        snapshots: Pods, in any order.
        interfaces: What `describe-network-interfaces` said; none is fine.
        ranges: AWS's public ranges; none is fine.
        ids: Zone names of the cluster's account with their ids.
        region: The cluster's: a service of another region is named with it, as no endpoint here leads there.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        snapshots: Sequence[Snapshot],
        *,
        interfaces: Iterable[Interface] = (),
        ranges: Sequence[ServiceRange] = (),
        ids: Mapping[str, str] | None = None,
        region: str | None = None,
    ) -> None:
        given = tuple(interfaces)
        known = tuple(nodes)
        by_instance = {node.instance: node for node in known if node.instance}
        accounts = {item.account for item in given if item.instance in by_instance and item.account}
        self.account = next(iter(accounts)) if len(accounts) == 1 else None
        self._ids = dict(ids or {})
        self._region = region
        self.nodes: dict[str, Party] = {}
        for node in known:
            zone = None if node.zone is None else self._complete(replace(node.zone, account=self.account))
            self.nodes[node.name] = Party(Kind.NODE, node.name, node.name, zone)
        self.instances = {item: node.name for item, node in by_instance.items()}
        self.interfaces: dict[str, Party] = {}
        self._fixed: dict[str, Party] = {}
        self._prefixes: list[tuple[IPv4Network | IPv6Network, Party]] = []
        self.shared_addresses: set[str] = set()
        for node in known:
            for address in node.addresses:
                self._fixed[address] = self.nodes[node.name]
        for item in given:
            self._add_interface(item)
        self._holders = _holders(snapshots, self.nodes)
        self._ranges = sorted((r for r in ranges), key=lambda r: (r.service in _GENERAL, -r.network.prefixlen))
        self._seen: dict[tuple[str, str], Party] = {}
        self._unknown: set[str] = set()

    def _complete(self, zone: Zone) -> Zone:
        """Add the id of a zone of the cluster's account."""
        if zone.zone_id is None and zone.name is not None and zone.account == self.account:
            return replace(zone, zone_id=self._ids.get(zone.name))
        return zone

    def _add_interface(self, item: Interface) -> None:
        node = self.instances.get(item.instance)
        if node is not None:
            party = self.nodes[node]
        else:
            zone = None if item.zone is None else self._complete(item.zone)
            party = Party(item.kind, item.name, item.interface_id, zone)
        self.interfaces[item.interface_id] = party
        for address in item.addresses:
            if self._fixed.get(address, party) != party:
                self.shared_addresses.add(address)
            self._fixed[address] = party
        self._prefixes += [(prefix, party) for prefix in item.prefixes]

    def gateway(self, *near: str) -> str:
        """Return the interface of the NAT gateway that one of these middle layer's addresses is; empty for none."""
        found = (self._fixed.get(address) for address in near if address)
        return next((item.host for item in found if item is not None and item.kind is Kind.NAT), "")

    def find(self, address: str, start_s: int, end_s: int, service: str = "") -> Party:
        """Return whose an address was in a window.

        Args:
            address: As the log has it.
            start_s: Begin of the window.
            end_s: Its end.
            service: The AWS service that the log names for it.

        Raises:
            ValueError: It is no address.
        """
        holders = self._holders.get(address)
        if holders is not None and address not in self.shared_addresses:
            among = [item.party for item in holders if item.overlaps(start_s, end_s)]
            if len(among) == 1:
                return among[0]
            if among:
                return _several(address, among)
        key = (address, service)
        found = self._seen.get(key)
        if found is None:
            if len(self._seen) >= _CACHED:
                self._seen.clear()
            found = self._seen[key] = self._lasting(address, service)
        return found

    def _lasting(self, address: str, service: str) -> Party:
        parsed = ip_address(address)
        if address in self.shared_addresses:
            return Party(Kind.UNKNOWN, f"{address} (two interfaces have it)")
        fixed = self._fixed.get(address)
        if fixed is not None:
            return fixed
        for prefix, party in self._prefixes:
            if parsed.version == prefix.version and parsed in prefix:
                return party
        if not _private(parsed):
            return self._outside(parsed, service)
        if address not in self._unknown:
            if len(self._unknown) >= _MOST_UNKNOWN:
                return REST
            self._unknown.add(address)
        return Party(Kind.UNKNOWN, address, address)

    def _outside(self, address: IPv4Address | IPv6Address, service: str) -> Party:
        name = service
        for item in self._ranges:
            if item.network.version == address.version and address in item.network:
                # The log's own name is kept where the file knows no narrower one.
                far = "" if self._region in {None, item.region} or item.service in _GENERAL else f" in {item.region}"
                name = item.service + far if item.service not in _GENERAL or not name else name
                break
        return INTERNET if not name or name in _GENERAL else Party(Kind.SERVICE, name)


def _holders(snapshots: Sequence[Snapshot], nodes: Mapping[str, Party]) -> dict[str, tuple[_Holder, ...]]:
    """Return for each address who had it from when to when."""
    ordered = sorted(snapshots, key=lambda item: item.taken_s)
    last_seen: dict[str, tuple[int, Pod]] = {}
    for number, snapshot in enumerate(ordered):
        for pod in snapshot.pods:
            last_seen[pod.uid] = (number, pod)
    by_address: dict[str, list[_Holder]] = defaultdict(list)
    for number, pod in last_seen.values():
        if pod.host_network or not pod.node:
            continue
        gone = ordered[number + 1].taken_s if number + 1 < len(ordered) else None
        host = nodes.get(pod.node)
        party = Party(
            Kind.POD, f"{pod.namespace}/{pod.name}", pod.node, None if host is None else host.zone, str(pod.owner)
        )
        for address in pod.addresses:
            by_address[address].append(_Holder(pod.start_s, gone if pod.end_s is None else pod.end_s, party))
    found = {}
    for address, holders in by_address.items():
        holders.sort(key=lambda item: item.start_s)
        cut = [
            replace(item, end_s=after.start_s if item.end_s is None else min(item.end_s, after.start_s))
            for item, after in pairwise(holders)
        ]
        found[address] = (*cut, holders[-1])
    return found


def _several(address: str, among: Sequence[Party]) -> Party:
    """Return what is certain of an address that changed hands within one window."""
    first = among[0]
    if all(item.workload == first.workload and item.host == first.host for item in among):
        return first
    host = first.host if all(item.host == first.host for item in among) else address
    zone = first.zone if all(item.zone == first.zone for item in among) else None
    return Party(Kind.UNKNOWN, f"{address} (changed hands)", host, zone)


def _private(address: IPv4Address | IPv6Address) -> bool:
    # 100.64/10 is no private range by the book, but pods of EKS are often put there.
    return not address.is_global or address.is_private
