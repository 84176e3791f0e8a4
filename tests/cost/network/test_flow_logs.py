from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from network_logs import ACCOUNT, CUSTOM, DEFAULT, T0, World, example, text_of, write

from cost.network.addresses import AddressBook, Snapshot
from cost.network.cluster import node_of, pod_of
from cost.network.costing import crosses
from cost.network.flow_format import FlowFormat, NoData, NoFormat, SkippedData
from cost.network.interfaces import interface_of
from cost.network.ledger import Ledger, Traffic, between
from cost.network.model import Kind, Route
from cost.network.reading_flows import ReadLogs, read_logs
from platform_lib.errors import ConfigError

AWS_DEFAULT = (
    "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"
)
AWS_REJECT = (
    "2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK"
)
AWS_NO_DATA = "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"
AWS_SKIPPED = "2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA"


def book_of(world: World, *, with_enis: bool = True) -> AddressBook:
    nodes = [node_of(item) for item in world.node_list()["items"]]
    pods = tuple(pod_of(item) for item in world.pod_list()["items"])
    enis = [interface_of(item) for item in world.interfaces()["NetworkInterfaces"]] if with_enis else []
    return AddressBook(nodes, [Snapshot(T0, pods)], interfaces=enis)


def read(
    folder: Path, world: World, text: str, *, with_enis: bool = True, fields: str | None = None
) -> tuple[ReadLogs, Traffic]:
    path = folder / "flows.log"
    path.write_text(text)
    ledger = Ledger(book_of(world, with_enis=with_enis))
    return read_logs([path], ledger, fields=fields), ledger.settle()


def inside(traffic: Traffic) -> int:
    """Return the bytes between pods and nodes; without its interface, a NAT gateway is an address nobody knows."""
    known = {Kind.POD, Kind.NODE}
    return sum(flow.size_bytes for flow in between(traffic.flows) if {flow.source.kind, flow.target.kind} <= known)


def sent_inside(world: World) -> int:
    """Return the bytes that left a node for another one."""
    return sum(
        size for one, other, size in world.sent if other in world.pods and world.pods[one][2] != world.pods[other][2]
    )


def test_the_lines_of_aws_own_examples() -> None:
    form = FlowFormat.of(DEFAULT)
    record = form.record(AWS_DEFAULT.split())
    assert (record.source, record.target, record.size_bytes) == ("172.31.16.139", "172.31.16.21", 4249)
    assert record.accepted
    assert not record.packet
    assert record.end_s - record.start_s == 60
    assert not form.record(AWS_REJECT.split()).accepted
    with pytest.raises(NoData):
        form.record(AWS_NO_DATA.split())
    with pytest.raises(SkippedData):
        form.record(AWS_SKIPPED.split())


def test_packet_addresses_and_routes_of_a_custom_format() -> None:
    form = FlowFormat.of(
        "interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr bytes start end traffic-path az-id".split()
    )
    record = form.record("eni-1 10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5 7 0 60 8 use1-az2".split())
    assert (record.target, record.near_target, record.route) == ("203.0.113.5", "10.0.0.220", Route.INTERNET_GATEWAY)
    assert record.zone_id == "use1-az2"


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ("interface-id srcaddr dstaddr start end", "bytes"),
        ("interface-id srcaddr bytes start end", "pkt-srcaddr"),
        ("srcaddr dstaddr bytes start end", "interface-id or flow-direction"),
    ],
)
def test_a_format_that_cannot_be_counted_is_refused(fields: str, lacks: str) -> None:
    with pytest.raises(NoFormat, match=lacks):
        FlowFormat.of(fields.split())


@pytest.mark.parametrize("fields", [CUSTOM, DEFAULT])
@pytest.mark.parametrize("with_enis", [True, False])
def test_each_byte_counts_once_though_both_ends_recorded_it(tmp_path: Path, fields: list[str], with_enis: bool) -> None:
    world = example()
    logs, traffic = read(tmp_path, world, text_of(world.records(), fields), with_enis=with_enis)
    assert logs.complete
    assert inside(traffic) == sent_inside(world)
    assert traffic.twice_bytes >= sent_inside(world)


def test_one_end_alone_counts_the_same(tmp_path: Path) -> None:
    world = example()
    seen_by_senders = [item for item in world.records() if item["flow-direction"] == "egress"]
    _, traffic = read(tmp_path, world, text_of(seen_by_senders))
    assert inside(traffic) == sent_inside(world)
    assert traffic.twice_bytes == 0


def test_planted_records_without_an_observer_would_count_twice(tmp_path: Path) -> None:
    # What happens if interfaces could not be told apart: the fault that counting by side prevents.
    world = example()
    text = text_of(
        [{**item, "interface-id": f"{item['interface-id']}-{number}"} for number, item in enumerate(world.records())]
    )
    ledger = Ledger(book_of(world, with_enis=False))
    path = tmp_path / "flows.log"
    path.write_text(text.replace(" egress ", " - ").replace(" ingress ", " - ").replace(" i-node", " x-node"))
    read_logs([path], ledger)
    assert inside(ledger.settle()) != sent_inside(world)


def test_the_default_format_tells_zones_but_no_pods(tmp_path: Path) -> None:
    world = example()
    _, traffic = read(tmp_path, world, text_of(world.records(), DEFAULT))
    assert not traffic.packet
    assert all(Kind.NODE in {flow.source.kind, flow.target.kind} for flow in between(traffic.flows))
    assert all(crosses(flow) is not None for flow in between(traffic.flows))


def test_what_nat_forwards_is_counted_on_each_side_once(tmp_path: Path) -> None:
    world = example()
    for fields in (CUSTOM, DEFAULT):
        _, traffic = read(tmp_path, world, text_of(world.records(), fields))
        out = sum(size for _, other, size in world.sent if other in {"s3", "internet"})
        assert sum(flow.size_bytes for flow in traffic.nat_inside) == out
        assert sum(flow.size_bytes for flow in traffic.nat_outside) == out
        assert {flow.target.kind for flow in traffic.nat_inside} == {Kind.NAT}


def test_broken_lines_are_counted_and_named(tmp_path: Path) -> None:
    world = example()
    good = text_of(world.records())
    lines = good.splitlines()
    index = CUSTOM.index("bytes"), CUSTOM.index("pkt-srcaddr"), CUSTOM.index("log-status"), CUSTOM.index("end")
    planted = []
    for place, value in zip(index, ("many", "10.0.1", "MAYBE", "1"), strict=True):
        words = lines[1].split()
        words[place] = value
        planted.append(" ".join(words))
    planted.append("too short")
    logs, traffic = read(tmp_path, world, good + "\n".join(planted) + "\n")
    assert logs.broken.total() == 5
    assert not logs.complete
    assert inside(traffic) == sent_inside(world)
    assert f"flows.log, line {len(lines) + 1}: bytes, start or end is no number" in logs.examples[0]
    assert set(logs.broken) == {
        "bytes, start or end is no number", "an address is none", "log-status is none of OK, NODATA, SKIPDATA",
        "ends before it starts", "not as many fields as the header has",
    }  # fmt: skip


def test_windows_without_data_and_left_out_ones(tmp_path: Path) -> None:
    world = example()
    logs, _ = read(tmp_path, world, text_of(world.records(), DEFAULT) + f"{AWS_NO_DATA}\n{AWS_SKIPPED}\n")
    assert (logs.no_data, logs.skipped, logs.complete) == (1, 1, False)


def test_rejected_bytes_are_not_sent(tmp_path: Path) -> None:
    world = example()
    refused = [{**item, "action": "REJECT"} for item in world.records()]
    _, traffic = read(tmp_path, world, text_of([*world.records(), *refused]))
    assert inside(traffic) == sent_inside(world)
    assert traffic.rejected_bytes > 0


def test_headers_cloudwatch_and_formats_that_are_said(tmp_path: Path) -> None:
    world = example()
    plain = text_of(world.records(), DEFAULT, header=False)
    stamped = "".join(f"2026-11-25T10:00:00.000Z {line}\n" for line in plain.splitlines())
    said = " ".join(f"${{{name}}}" for name in CUSTOM)
    for text, fields in ((plain.replace("5 1111", "2 1111"), None), (stamped.replace("Z 5 ", "Z 2 "), None),
                         (text_of(world.records(), CUSTOM, header=False), said)):  # fmt: skip
        _, traffic = read(tmp_path, world, text, fields=fields)
        assert inside(traffic) == sent_inside(world)
    with pytest.raises(ConfigError, match="no header line"):
        read(tmp_path, world, text_of(world.records(), CUSTOM, header=False))


def test_parquet_says_the_same_as_text(tmp_path: Path) -> None:
    world = example()
    numbers = {"bytes", "start", "end", "packets"}
    columns = {
        name.replace("-", "_"): [int(item[name]) if name in numbers else (None if item[name] == "-" else item[name]) for item in world.records()]
        for name in CUSTOM
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "flows.parquet")
    ledger = Ledger(book_of(world))
    logs = read_logs([tmp_path], ledger)
    assert inside(ledger.settle()) == sent_inside(world)
    assert logs.complete
    (tmp_path / "flows.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(ConfigError, match="no Parquet file"):
        read_logs([tmp_path], Ledger(book_of(world)))


def test_a_file_that_ends_in_the_middle_is_named_and_one_given_twice_is_read_once(tmp_path: Path) -> None:
    world = example()
    whole = gzip.compress(text_of(world.records() * 40).encode())
    (tmp_path / "cut.log.gz").write_bytes(whole[: len(whole) // 2])
    logs = read_logs([tmp_path], Ledger(book_of(world)))
    assert len(logs.cut) == 1
    assert not logs.complete
    paths = write(tmp_path / "twice", world)
    (tmp_path / "twice" / "again.log.gz").write_bytes(paths["flows"].read_bytes())
    ledger = Ledger(book_of(world))
    logs = read_logs([tmp_path / "twice"], ledger)
    assert len(logs.repeated) == 1
    assert inside(ledger.settle()) == sent_inside(world)


def test_files_that_are_none_say_what_to_give(tmp_path: Path) -> None:
    world = example()
    for name, content, said in (
        ("a.gz", b"no gzip at all", "no gzipped text"),
        ("b.log", f"{AWS_NO_DATA}\n".encode(), "no record in 1 files, 1 windows without data"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=said) as caught:
            read_logs([tmp_path / name], Ledger(book_of(world)))
        assert caught.value.remedy
    with pytest.raises(ConfigError, match="no such file"):
        read_logs([tmp_path / "none"], Ledger(book_of(world)))


def test_memory_follows_the_parties_not_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost.network.addresses._MOST_UNKNOWN", 50)
    world = example()
    base = world.records()[0]
    scan = ({**base, "pkt-srcaddr": f"172.{16 + n // 65536 % 16}.{n // 256 % 256}.{n % 256}"} for n in range(300))
    _, traffic = read(tmp_path, world, text_of(list(scan)))
    assert len(traffic.flows) <= 52
    assert sum(flow.size_bytes for flow in traffic.flows) == 300 * int(base["bytes"])


def test_account_of_the_cluster_is_learned_from_its_interfaces() -> None:
    assert book_of(example()).account == ACCOUNT
    assert book_of(example(), with_enis=False).account is None


def test_empty_windows_are_part_of_the_time(tmp_path: Path) -> None:
    world = example()
    quiet = f"2 {ACCOUNT} eni-node-a0 - - - - - - - {T0 + 7200} {T0 + 7799} - NODATA\n"
    _, traffic = read(tmp_path, world, text_of(world.records(), DEFAULT) + quiet)
    assert traffic.covered_s == 7 * 600
