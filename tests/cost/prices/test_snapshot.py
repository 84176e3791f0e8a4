from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cost.prices.building import build
from cost.prices.model import STALE_DAYS, Book, Meter, Price, SpotPrice, stale
from cost.prices.snapshot import DIGESTS, SNAPSHOTS, add_snapshot, load, packaged, read_snapshot, to_bytes
from platform_lib.errors import ConfigError, IntegrityError

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "prices"
DAY = date(2026, 7, 20)


def _price(usd: str = "0.1", item: str = "thing", region: str = "us-east-1", dated: date = DAY) -> Price:
    return Price(Meter("x", item), region, "hour", Decimal(usd), "a list", dated)


def test_every_price_of_this_release_has_a_source_and_a_date_and_is_exact() -> None:
    for name in packaged():
        book = load(name)
        assert len(book.prices) > 400
        for price in book.prices.values():
            assert price.source
            assert price.dated < book.made
            assert isinstance(price.usd, Decimal)


def test_what_a_snapshot_lacks_is_unknown_and_not_0() -> None:
    book = load()
    assert book.on_demand("dl2q.24xlarge", "us-east-1") is None
    assert book.on_demand("m7i.large", "eu-central-1") is None
    assert book.on_demand("m7i.large", None) is None
    found = book.on_demand("m7i.large", "us-east-1")
    assert found is not None
    assert found.usd == Decimal("0.1008")
    assert book.spot_of("p5.48xlarge", "us-east-1") == ()


def test_a_book_holds_several_regions() -> None:
    book = Book.of("b", DAY, [_price("0.1"), _price("0.2", region="us-west-2")])
    assert [book.price("x", "thing", region).usd for region in book.regions] == [  # type: ignore[union-attr]
        Decimal("0.1"),
        Decimal("0.2"),
    ]
    with pytest.raises(ValueError, match="two prices"):
        Book.of("b", DAY, [_price("0.1"), _price("0.2")])


def test_a_snapshot_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    shutil.copytree(SNAPSHOTS, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    newest = folder / f"{packaged()[-1]}.json"
    assert load(folder=folder).name == newest.stem
    newest.write_text(newest.read_text().replace('"usd": "0.0225"', '"usd": "0.0224"', 1))
    with pytest.raises(IntegrityError, match="changed after it was made"):
        load(folder=folder)


def test_a_snapshot_is_never_written_over_and_reads_back_the_same(tmp_path: Path) -> None:
    seen = SpotPrice("p5", "us-east-1", "us-east-1a", Decimal(1), Decimal("1.5"), Decimal(2), 7, "history", DAY)
    content = to_bytes(date(2026, 11, 30), [_price()], [seen])
    path = add_snapshot(tmp_path, content, date(2026, 11, 30))
    book = read_snapshot(path)
    assert (tuple(book.prices.values()), book.spot["p5", "us-east-1"]) == ((_price(),), (seen,))
    assert json.loads((tmp_path / DIGESTS).read_text()).keys() == {"2026-11-30"}
    with pytest.raises(ConfigError, match="never change"):
        add_snapshot(tmp_path, content, date(2026, 11, 30))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('"usd": "0.1"', '"usd": "-0.1"'),
        ('"usd": "0.1"', '"usd": "NaN"'),
        ('"of": 0', '"of": 9'),
        ('"of": 0', '"of": -1'),
        ('"unit": "hour"', '"unit": "hour", "discount": 2'),
        ('"source": "a list"', '"source": " "'),
    ],
)
def test_a_row_that_is_no_price_is_refused(tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "own.json"
    text = to_bytes(DAY, [_price()]).decode()
    path.write_text(text)
    read_snapshot(path)
    assert change in text
    path.write_text(text.replace(change, said))
    with pytest.raises(ConfigError, match="no snapshot"):
        read_snapshot(path)


def test_an_old_price_is_stale_and_a_new_one_is_not() -> None:
    new, old = _price(dated=DAY), _price(item="old", dated=DAY - timedelta(days=1))
    assert stale([new, old], DAY + timedelta(days=STALE_DAYS)) == (old,)


def test_the_packaged_snapshot_is_what_the_tables_give() -> None:
    if not DATA.is_dir():
        pytest.skip("the tables of prices are not here")
    assert build(DATA, date(2026, 11, 20)) == (SNAPSHOTS / "2026-11-20.json").read_bytes()


def test_a_table_whose_source_names_no_month_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aws_ec2_on_demand.csv").write_text("region,instance_type,usd_per_hour,network_mbps\n")
    head = "service,item,region,unit,usd,source\n"
    (tmp_path / "aws_unit_prices.csv").write_text(head + "vpc,nat,us-east-1,hour,1,a golden of 2024-07\n")
    build(tmp_path, DAY)
    (tmp_path / "aws_unit_prices.csv").write_text(head + "vpc,nat,us-east-1,hour,1,somebody\n")
    with pytest.raises(ValueError, match="no month"):
        build(tmp_path, DAY)
