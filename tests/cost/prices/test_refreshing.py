"""Prices asked of AWS: spot's history of a moto server, over HTTP. moto has neither the Price List nor Savings Plans
(5.2.5): those two are answered by a small server on loopback, in the form that AWS documents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cost.prices import offers
from cost.prices.model import Book, Meter, Price
from cost.prices.refreshing import Answers, Wish, ask, merged, types_of
from cost.prices.snapshot import load, read_snapshot
from platform_lib.cli import run

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _product(kind: str = "m7i.large", usd: str = "0.11", **changed: str) -> dict[str, Any]:
    attributes = {
        "instanceType": kind,
        "regionCode": "us-west-2",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "usagetype": f"USW2-BoxUsage:{kind}",
        **changed,
    }
    step = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
    return {"product": {"attributes": attributes}, "terms": {"OnDemand": {"T": {"priceDimensions": {"D": step}}}}}


class _Aws(BaseHTTPRequestHandler):
    """Answers GetProducts and DescribeSavingsPlansOfferingRates; refuses what `refuse` names."""

    refuse: ClassVar[frozenset[str]] = frozenset()
    asked: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        target = self.headers.get("X-Amz-Target", self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        type(self).asked.append(body)
        if any(name in target for name in self.refuse):
            self._send(400, {"__type": "AccessDeniedException", "message": "not allowed"})
        elif "GetProducts" in target:
            self._send(200, self._products(body))
        elif "DescribeSavingsPlansOfferingRates" in target:
            self._send(200, self._rates(body))
        else:
            self._send(400, {"__type": "UnknownOperationException", "message": target})

    def _products(self, body: dict[str, Any]) -> dict[str, Any]:
        terms = {item["Field"]: item["Value"] for item in body["Filters"]}
        products = []
        if "instanceType" in terms:
            products = [_product(terms["instanceType"]), _product(terms["instanceType"], "0.5", operatingSystem="RHEL")]
        elif terms.get("productFamily") == "NAT Gateway":
            products = [_product(usd="0.048", usagetype="USW2-NatGateway-Hours")]
        if body.get("NextToken") is None and products:  # two pages
            return {"PriceList": [json.dumps(products[0])], "NextToken": "more"}
        return {"PriceList": [json.dumps(item) for item in products[1:]]}

    def _rates(self, body: dict[str, Any]) -> dict[str, Any]:
        del body
        names = {
            "instanceType": "m7i.large",
            "region": "us-west-2",
            "productDescription": "Linux/UNIX",
            "tenancy": "shared",
        }
        offering = {"planType": "Compute", "durationSeconds": 94608000, "paymentOption": "No Upfront"}
        properties = [{"name": name, "value": value} for name, value in names.items()]
        return {
            "searchResults": [
                {"savingsPlanOffering": offering, "rate": "0.05", "unit": "Hrs", "properties": properties}
            ]
        }

    def _send(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the method replaced
        del format, args


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    own = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    thread = threading.Thread(target=own.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    emulator = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    emulator.start()
    host, port = emulator.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://{host}:{port}")
    address = f"http://127.0.0.1:{own.server_address[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", address)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAVINGSPLANS", address)
    _Aws.asked.clear()
    try:
        yield address
    finally:
        emulator.stop()
        own.shutdown()
        own.server_close()
        thread.join()


@pytest.mark.slow
def test_a_refresh_makes_a_new_snapshot_of_what_aws_tells(
    aws: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del aws
    command = [
        "cost",
        "prices",
        "refresh",
        "--out",
        str(tmp_path),
        "--region",
        "us-west-2",
        "--instance-type",
        "m7i.large",
    ]
    assert run([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    book = read_snapshot(Path(document["snapshot"]))
    made = book.on_demand("m7i.large", "us-west-2")
    assert made is not None
    assert (made.usd, made.source) == (Decimal("0.11"), offers.PRICE_LIST)
    nat = book.price("vpc", "nat gateway", "us-west-2")
    assert nat is not None
    assert nat.usd == Decimal("0.048")
    kept = book.on_demand("m7i.large", "us-east-1")  # AWS was not asked of it: as it was, with its date
    assert kept is not None
    assert kept.dated == date(2026, 7, 20)
    assert book.savings[0].years == 3
    assert book.spot_of("m7i.large", "us-west-2")  # moto's zones
    assert document["refused"] == []


@pytest.mark.slow
def test_what_aws_refuses_is_said_and_the_rest_is_kept(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del aws
    monkeypatch.setattr(_Aws, "refuse", frozenset({"DescribeSavingsPlansOfferingRates", "describe-savings"}))
    answers = ask(Wish(("us-west-2",), ("m7i.large",), 30, NOW))
    assert answers.prices
    assert answers.savings == []
    assert any("Savings Plans of us-west-2" in item for item in answers.refused)
    monkeypatch.setattr(_Aws, "refuse", frozenset({"GetProducts"}))
    answers = ask(Wish(("us-west-2",), ("m7i.large",), 30, NOW))
    assert answers.prices == []
    assert any("Price List of us-west-2" in item for item in answers.refused)


def test_spot_prices_are_weighted_by_how_long_they_held() -> None:
    def point(days: float, usd: str) -> dict[str, Any]:
        place = {"InstanceType": "p5.48xlarge", "AvailabilityZone": "us-east-1a"}
        return {**place, "SpotPrice": usd, "Timestamp": NOW - days * DAY}

    # 1 for 8 days, 2 for a day and a half, 10 for half a day: the mean is (8 + 3 + 5) / 10
    points = [point(12, "1"), point(2, "2"), point(0.5, "10")]
    (found,) = offers.spot_prices(points, "us-east-1", start=NOW - 10 * DAY, end=NOW)
    assert (found.low, found.middle, found.high) == (Decimal(1), Decimal("1.6"), Decimal(2))
    assert found.samples == 3
    assert list(offers.spot_prices([point(1, "0")], "us-east-1", start=NOW - DAY, end=NOW)) == []


@pytest.mark.parametrize(
    "product",
    [
        _product(operatingSystem="Windows"),
        _product(tenancy="Dedicated"),
        _product(preInstalledSw="SQL Std"),
        _product(capacitystatus="UnusedCapacityReservation"),
        _product(usd="0.0000000000"),
    ],
)
def test_a_product_of_another_sort_is_no_price_of_an_instance(product: dict[str, Any]) -> None:
    assert len(list(offers.instance_prices([_product()], read=NOW.date()))) == 1
    assert list(offers.instance_prices([product], read=NOW.date())) == []


def test_a_price_with_steps_is_left_out() -> None:
    wanted = [item for item in offers.WANTED if item.usage == "NatGateway-Hours"]
    product = _product(usagetype="USW2-NatGateway-Hours")
    assert len(list(offers.unit_prices([product], wanted, read=NOW.date()))) == 1
    steps = product["terms"]["OnDemand"]["T"]["priceDimensions"]
    steps["E"] = steps["D"]
    assert list(offers.unit_prices([product], wanted, read=NOW.date())) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("USW2-NatGateway-Hours", "NatGateway-Hours"),
        ("NatGateway-Hours", "NatGateway-Hours"),
        ("EUC1-EBS:VolumeUsage.gp3", "EBS:VolumeUsage.gp3"),
        ("EU-BoxUsage:m7i.large", "BoxUsage:m7i.large"),
        ("KMS-Keys", "KMS-Keys"),
        ("RDS:GP3-Storage", "RDS:GP3-Storage"),
    ],
)
def test_a_usage_type_is_known_in_every_region(text: str, said: str) -> None:
    assert offers.usage_of(text) == said


def test_what_was_not_told_stays_with_its_own_date() -> None:
    old = Price(Meter("x", "a"), "us-east-1", "hour", Decimal(1), "list", date(2024, 7, 1))
    new = Price(Meter("x", "b"), "us-east-1", "hour", Decimal(2), "api", NOW.date())
    prices, spot, savings = merged(Book.of("o", NOW.date(), [old]), Answers(prices=[new]))
    assert (set(prices), spot, savings) == ({old, new}, [], [])


def test_all_known_types_are_asked_for_unless_some_are_named() -> None:
    assert types_of(load(), ["a.large", "a.large"]) == ("a.large",)
    assert "p5.48xlarge" in types_of(load(), [])
