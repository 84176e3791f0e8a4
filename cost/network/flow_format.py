"""The fields of a VPC flow log: the default format, custom ones by their header, one line to one record. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cost.network.model import ROUTES, FlowRecord, Route

DEFAULT = (
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets",
    "bytes", "start", "end", "action", "log-status",
)  # fmt: skip
"""Source: Amazon VPC user guide, "Flow log records", default format (version 2), read 2026-11."""
FURTHER = (
    "vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr", "region", "az-id",
    "sublocation-type", "sublocation-id", "pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction",
    "traffic-path", "ecs-cluster-arn", "ecs-cluster-name", "ecs-container-instance-arn", "ecs-container-instance-id",
    "ecs-container-id", "ecs-second-container-id", "ecs-service-name", "ecs-task-definition-arn", "ecs-task-arn",
    "ecs-task-id", "reject-reason", "resource-id", "encryption-status",
)  # fmt: skip
"""Of versions 3 to 10. A field that is not listed is read over."""
KNOWN = frozenset((*DEFAULT, *FURTHER))
_NEEDED = ("bytes", "start", "end")
_FIRST_CLIENT_PORT = 32768
"""Linux gives clients ports from here on. Source: Linux kernel documentation, `ip_local_port_range`."""
_ABSENT = frozenset(("-", "", None))


class BrokenLine(ValueError):  # noqa: N818 - it is a finding about one line, counted and named, and ends nothing
    """A line that is no record; the message is the reason it is counted under."""


class NoData(Exception):  # noqa: N818 - not an error: the interface had no traffic in that window
    """`log-status` NODATA: the window is recorded, and empty.

    Args:
        start_s: Begin of the window.
        end_s: Its end.
    """

    def __init__(self, start_s: int, end_s: int) -> None:
        super().__init__(start_s, end_s)
        self.start_s, self.end_s = start_s, end_s


class SkippedData(Exception):  # noqa: N818 - not an error of the file: AWS itself left records out
    """`log-status` SKIPDATA: AWS left records out in that window, of unknown size."""


class NoFormat(ValueError):  # noqa: N818 - says why a header is none; the reader makes the error out of it
    """Fields that no count can be made from; the message says which are missing."""


_WANTED = (
    "log-status", "srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "bytes", "start", "end", "flow-direction", "action",
    "interface-id", "account-id", "instance-id", "az-id", "pkt-src-aws-service", "pkt-dst-aws-service", "traffic-path",
    "srcport", "dstport",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FlowFormat:
    """Where each field stands.

    Attributes:
        fields: Names in the order of a line.
        wanted: Of each of `_WANTED` its place in a line; one past the end for a field that the format lacks.
        packet: Whether both addresses of the packet are there.
    """

    fields: tuple[str, ...]
    wanted: tuple[int, ...]
    packet: bool

    @classmethod
    def of(cls, fields: Sequence[str]) -> FlowFormat:
        """Take fields as AWS spells them, with hyphens, underscores (Parquet) or as `${field}`.

        Raises:
            NoFormat: A field without which nothing can be counted is missing.
        """
        names = tuple(_plain(item) for item in fields)
        place = {name: number for number, name in enumerate(names)}
        packet = "pkt-srcaddr" in place and "pkt-dstaddr" in place
        missing = [name for name in _NEEDED if name not in place]
        if not packet and not ("srcaddr" in place and "dstaddr" in place):
            missing.append("pkt-srcaddr and pkt-dstaddr")
        if "interface-id" not in place and "flow-direction" not in place:
            # Without either, a flow that both of its ends recorded cannot be told from two flows.
            missing.append("interface-id or flow-direction")
        if missing:
            raise NoFormat(f"the format lacks {', '.join(missing)}")
        return cls(names, tuple(place.get(name, len(names)) for name in _WANTED), packet)

    def record(self, values: Sequence[str | int | None]) -> FlowRecord:
        """Make a record of one line's values.

        Raises:
            BrokenLine: They are none.
            NoData: The interface had no traffic.
            SkippedData: AWS left records out.
        """
        if len(values) != len(self.fields):
            raise BrokenLine("not as many fields as the header has")
        row = (*values, None)
        (
            status, near_source, near_target, source, target, size, start, end, direction, action, interface, account,
            instance, zone_id, source_service, target_service, path, source_port, target_port,
        ) = ["" if (value := row[at]) in _ABSENT else str(value) for at in self.wanted]  # fmt: skip
        if status == "NODATA":
            raise NoData(_number(start), _number(end))
        if status == "SKIPDATA":
            raise SkippedData
        if not self.packet:
            source = target = ""
        source, target = source or near_source, target or near_target
        made = FlowRecord(
            interface, account, instance, zone_id, source, target, near_source if near_source != source else "",
            near_target if near_target != target else "", source_service, target_service, self.packet, _number(size),
            _number(start), _number(end), direction, _route(path), action != "REJECT", _server(source_port, target_port),
        )  # fmt: skip
        _hold(made, status, action)
        return made


def _hold(made: FlowRecord, status: str, action: str) -> None:
    if status not in {"", "OK"}:
        raise BrokenLine("log-status is none of OK, NODATA, SKIPDATA")
    if made.end_s < made.start_s:
        raise BrokenLine("ends before it starts")
    if made.direction not in {"", "ingress", "egress"}:
        raise BrokenLine("flow-direction is neither ingress nor egress")
    if action not in {"", "ACCEPT", "REJECT"}:
        raise BrokenLine("action is neither ACCEPT nor REJECT")


def is_header(words: Sequence[str]) -> bool:
    """Say whether a line names fields: most of its words are known ones."""
    # A header is a line in millions: most are told by their first word.
    return _plain(words[0]) in KNOWN and sum(_plain(word) in KNOWN for word in words) * 2 > len(words) > 1


def _plain(name: str) -> str:
    return name.strip().removeprefix("${").removesuffix("}").replace("_", "-").lower()


def _number(text: str) -> int:
    if not text.isdecimal():
        raise BrokenLine("bytes, start or end is no number")
    return int(text)


def _server(source_port: str, target_port: str) -> str:
    """Return which end serves: the one with the lower port, where the other one's is one of those that clients are given."""
    if not (source_port.isdecimal() and target_port.isdecimal()):
        return ""
    source, target = int(source_port), int(target_port)
    if min(source, target) >= _FIRST_CLIENT_PORT or max(source, target) < _FIRST_CLIENT_PORT:
        return ""
    return "target" if target < source else "source"


def _route(text: str) -> Route:
    if not text or text == "-1":
        return Route.UNKNOWN
    return ROUTES.get(int(text), Route.UNKNOWN) if text.isdecimal() else Route.UNKNOWN
