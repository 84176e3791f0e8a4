"""`drivetrain cost tiering` as people type it: a bucket in S3's formats in; a table, rules and proposals out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from s3_records import BUCKET, TAKEN, Bucket, Stored, fleet, write_access_log, write_cloudtrail, write_inventory

from cost.prices.model import Price
from cost.prices.snapshot import load, to_bytes
from cost.report.proposals import ProposalFile
from platform_lib.cli import run

FLEET = fleet(40, days=120)


class Told:
    """What a run printed and wrote."""

    def __init__(self, status: int, out: str, folder: Path) -> None:
        self.status, self.out, self.folder = status, out, folder

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def cell(self, prefix: str) -> dict[str, Any]:
        (found,) = [each for each in self.document["cells"] if each["prefix"] == prefix]
        return found

    @property
    def rules(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "lifecycle.json").read_text())["Rules"]
        return found


class Bench:
    """A folder with a bucket's files, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def lay(self, bucket: Bucket = FLEET, form: str = "CSV", broken: tuple[str, ...] = ()) -> None:
        write_inventory(self.folder, bucket, form=form)
        write_access_log(self.folder / "logs" / "2026-11-20-00-00-00-ABC", bucket.requests, broken=broken)

    def run(self, *more: str, logs: bool = True, as_json: bool = True) -> Told:
        words = [
            "cost",
            "tiering",
            "--inventory",
            str(self.folder / "inventories"),
            "--out",
            str(self.folder / "lifecycle.json"),
        ]
        words += ["--access-log", str(self.folder / "logs")] if logs else []
        try:
            status = run([*words, *more, *(["--json"] if as_json else [])])
        except SystemExit as ended:
            status = int(str(ended.code))
        return Told(status, self._capsys.readouterr().out, self.folder)

    def settings(self, text: str) -> tuple[str, str]:
        path = self.folder / "tiering.yaml"
        path.write_text(f"format: drivetrain-tiering/1\n{text}")
        return "--settings", str(path)


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, capsys)


def test_a_bucket_gets_the_rules_that_pay_and_keeps_what_does_not(bench: Bench) -> None:
    bench.lay(form="Parquet", broken=("not a line",))
    told = bench.run("--proposals", str(bench.folder / "proposals.json"))
    assert told.status == 0
    raw, frames, reports = told.cell("raw/"), told.cell("frames/"), told.cell("reports/")
    assert raw["steps"][-1]["storage_class"] == "GLACIER_IR"
    assert frames["steps"] == [{"day": 21, "storage_class": "GLACIER_IR"}]
    assert not reports["changes"]
    assert raw["saves_monthly_usd"]["low"] <= raw["saves_monthly_usd"]["expected"] <= raw["saves_monthly_usd"]["high"]
    assert raw["then_monthly"]["usd"] < raw["now_monthly"]["usd"]
    assert 0 < raw["payback_days"] <= 90
    assert "life after day" in raw["certainty"]
    infrequent = next(each for each in reports["refused"] if each["rule"].startswith("standard-ia"))
    assert "reads +$" in infrequent["because"]
    assert "never pays back" in infrequent["because"]
    assert told.document["not_read"][0]["lines"] == 1
    assert [rule["ID"] for rule in told.rules] == ["tiering-frames-2", "tiering-raw-4", "housekeeping"]
    assert all(price["source"] and price["dated"] for price in told.document["prices"])
    proposals = ProposalFile.model_validate_json((bench.folder / "proposals.json").read_bytes())
    assert any("2026-06-01" in each for each in proposals.prices)
    made = [each for each in proposals.proposals if each.command]
    assert {each.title.split()[0] for each in made} == {"raw/", "frames/"}
    assert all("put-bucket-lifecycle-configuration" in str(each.command) for each in made)


def test_people_read_a_table_the_arithmetic_and_what_was_not_read(bench: Bench) -> None:
    bench.lay(broken=("x",))
    told = bench.run(as_json=False)
    assert told.status == 0
    for word in ("frames/", "glacier instant from day 21", "refused", "over 365 days of life", "not read: 1 lines",
                 "wait_hours", "apply: aws s3api", "older than 180 days"):  # fmt: skip
        assert word in told.out, word


def test_a_rule_of_now_that_does_not_pay_is_taken_back(bench: Bench) -> None:
    bench.lay()
    rules = bench.folder / "now.json"
    moves = [{"Days": 30, "StorageClass": "STANDARD_IA"}]
    rules.write_text(json.dumps({"Rules": [{"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": moves, "Expiration": {"Days": 999}}]}))  # fmt: skip
    told = bench.run("--rules", str(rules))
    reports = told.cell("reports/")
    assert reports["rule_now"] == "standard-ia from day 30"
    assert reports["changes"]
    assert reports["steps"] == []
    assert reports["saves_monthly_usd"]["expected"] > 0
    kept = next(rule for rule in told.rules if rule["ID"] == "all")
    assert "Transitions" not in kept
    assert kept["Expiration"] == {"Days": 999}
    assert "housekeeping" not in {rule["ID"] for rule in told.rules}


def test_deep_archive_is_refused_for_a_short_life_and_taken_for_a_long_one(bench: Bench) -> None:
    small = [Stored(f"raw/{number}", 140 << 10, 1.0 + number) for number in range(60)]
    large = [Stored(f"long/{number}", 600 << 10, 1.0 + number) for number in range(60)]
    bench.lay(Bucket([*small, *large], FLEET.requests[:1]))
    known = "wait_hours: 48, reads_a_month: 0"
    text = f"prefixes: [{{prefix: raw/, life_days: 200, {known}}}, {{prefix: long/, life_days: 3000, {known}}}]\n"
    told = bench.run(*bench.settings(text))
    short, long = told.cell("raw/"), told.cell("long/")
    assert all(step["storage_class"] != "DEEP_ARCHIVE" for step in short["steps"])
    refused = next(each for each in short["refused"] if each["rule"].startswith("deep archive"))
    assert "pays back after" in refused["because"]
    assert "and lives 6.6" in refused["because"]
    assert long["steps"][-1]["storage_class"] == "DEEP_ARCHIVE"
    assert long["certainty"].startswith("declared by the owner: 0 reads")


def test_a_month_is_what_today_s_objects_cost_without_those_to_come(bench: Bench) -> None:
    # 60 objects of 1 GiB, one a day: 60 times 0.023 USD a month, although as many again will come within the plan.
    objects = [Stored(f"raw/{number}", 1 << 30, 1.0 + number) for number in range(60)]
    small = [Stored(f"side/{number}.json", 6 << 10, 1.0 + number % 60) for number in range(1500)]
    bench.lay(Bucket([*objects, *small], FLEET.requests[:1]))
    text = "prefixes: [{prefix: raw/, reads_a_month: 0, leave: true}, {prefix: side/, reads_a_month: 0, life_days: 1000}]\n"
    told = bench.run(*bench.settings(text))
    assert told.cell("raw/")["now_monthly"]["usd"] == pytest.approx(60 * 0.023)
    packs = told.cell("side/")["compaction"]
    assert packs["objects"] == 1500
    assert packs["saves_monthly_usd"] < told.cell("side/")["now_monthly"]["usd"]
    assert "1,500 objects of 6 KiB and 6,083 to come become" in packs["because"]


def test_unread_is_not_unknown(bench: Bench) -> None:
    bench.lay()
    told = bench.run(logs=False)
    raw = told.cell("raw/")
    assert told.status == 0
    assert not raw["changes"]
    assert raw["now_monthly"]["at_least"]
    assert raw["refused"] == [{"rule": "any rule", "because": raw["refused"][0]["because"]}]
    assert "is not known" in raw["refused"][0]["because"]
    # Logs of another bucket do not say that this one is never read.
    other = [replace(each, bucket="other") for each in FLEET.requests[:20]]
    write_access_log(bench.folder / "logs" / "2026-11-20-00-00-00-ABC", other)
    told = bench.run()
    assert told.status == 1
    assert "does not say that nothing was read" in told.document["error"]["what"]


def test_cloudtrail_and_storage_lens_stand_in_for_access_logs(bench: Bench) -> None:
    bench.lay()
    by_log = bench.run().cell("frames/")
    write_cloudtrail(bench.folder / "trail" / "x.json.gz", FLEET.requests)
    by_trail = bench.run("--cloudtrail", str(bench.folder / "trail"), logs=False).cell("frames/")
    assert by_trail["steps"] == by_log["steps"]
    both = bench.run("--cloudtrail", str(bench.folder / "trail")).cell("frames/")
    assert both["now_monthly"] == by_log["now_monthly"]  # no read counts twice
    head = "version_number,configuration_id,report_date,aws_account_number,aws_region,storage_class,record_type,record_value,bucket_name,metric_name,metric_value"
    rows = [f"V_1,c,2026-11-19,1,us-east-1,STANDARD,BUCKET,,{BUCKET},{name},{number}" for name, number in
            (("ObjectCount", 160), ("StorageBytes", 40 << 30), ("GetRequests", 1), ("BytesDownloaded", 1 << 20))]  # fmt: skip
    (bench.folder / "lens.csv").write_text("\n".join([head, *rows]))
    lens = bench.run("--storage-lens", str(bench.folder / "lens.csv"), logs=False).cell("frames/")
    assert "Storage Lens" in lens["certainty"]
    assert lens["changes"]
    assert "low" not in lens["saves_monthly_usd"]


def test_small_objects_are_put_together_unless_they_are_locked(bench: Bench) -> None:
    small = [Stored(f"side/{number}.json", 6 << 10, 1.0 + number % 90) for number in range(1500)]
    read = FLEET.requests[:1]
    text = 'prefixes: [{prefix: side/, reads_a_month: 0.01, life_days: 1000, compact: "drivetrain lake compact"}]\n'
    bench.lay(Bucket(small, read))
    told = bench.run(*bench.settings(text), "--proposals", str(bench.folder / "p.json"))
    packs = told.cell("side/")["compaction"]
    assert not packs["refused"]
    assert "become" in packs["because"]
    proposals = ProposalFile.model_validate_json((bench.folder / "p.json").read_bytes()).proposals
    assert next(each for each in proposals if "put" in each.title).command == "drivetrain lake compact"
    locked = [replace(each, locked_until=TAKEN + timedelta(days=400)) for each in small[:3]] + small[3:]
    bench.lay(Bucket(locked, read))
    packs = bench.run(*bench.settings(text)).cell("side/")["compaction"]
    assert packs["refused"]
    assert "3 objects are under retention" in packs["because"]


def test_what_is_held_or_retained_is_respected(bench: Bench) -> None:
    text = "prefixes: [{prefix: raw/, reads_a_month: 0, wait_hours: 48, life_days: 400}]\n"
    free = [Stored(f"raw/{number}", 300 << 20, 5.0 + number) for number in range(20)]
    bench.lay(Bucket(free, FLEET.requests[:1]))
    assert bench.run(*bench.settings(text)).cell("raw/")["steps"][-1]["storage_class"] == "DEEP_ARCHIVE"
    bench.lay(Bucket([replace(free[0], held=True), *free[1:]], FLEET.requests[:1]))
    held = bench.run(*bench.settings(text)).cell("raw/")
    assert held["steps"][-1]["storage_class"] == "GLACIER_IR"
    assert any("under legal hold" in each["because"] for each in held["refused"])
    until = TAKEN + timedelta(days=2000)
    bench.lay(Bucket([replace(each, locked_until=until) for each in free], FLEET.requests[:1]))
    locked = bench.run(*bench.settings(text))
    assert locked.cell("raw/")["locked"] == 20
    assert "to the end of their retention" in " ".join(locked.cell("raw/")["notes"])
    assert not any("Expiration" in rule for rule in locked.rules)


def test_a_price_that_is_not_known_bars_a_class_and_says_from_which_price_on_it_would_pay(bench: Bench) -> None:
    bench.lay()
    book = load("2026-11-30")
    lacking = [each for each in book.prices.values() if each.meter.item != "glacier instant transition"]
    (bench.folder / "own.json").write_bytes(to_bytes(book.made, lacking))
    prices = ("--prices", str(bench.folder / "own.json"))
    raw = bench.run(*prices).cell("raw/")
    assert all(step["storage_class"] != "GLACIER_IR" for step in raw["steps"])
    refused = next(each for each in raw["refused"] if each["rule"] == "glacier instant")
    assert "price not known: s3: glacier instant transition" in refused["because"]
    assert "pays if a move costs less than $" in refused["because"]
    own = '{item: glacier instant transition, unit: 1k requests, usd: "0.02", source: our contract, dated: 2026-01-01}'
    assert (
        bench.run(*prices, *bench.settings(f"prices: [{own}]\n")).cell("raw/")["steps"][-1]["storage_class"]
        == "GLACIER_IR"
    )
    assert isinstance(lacking[0], Price)


def test_a_prefix_with_others_below_it_gets_no_rule_of_its_own(bench: Bench) -> None:
    bucket = Bucket(
        [*FLEET.objects, *(Stored(f"{number}.mf4", 900 << 20, 5.0 + number) for number in range(9))], FLEET.requests
    )
    bench.lay(bucket)
    told = bench.run()
    root = told.cell("")
    assert not root["changes"]
    assert "would take the prefixes below it too" in root["refused"][0]["because"]
    left = bench.run(*bench.settings("prefixes: [{prefix: raw/, leave: true}]\n")).cell("raw/")
    assert not left["changes"]
    assert "to leave it" in left["refused"][0]["because"]


@pytest.mark.parametrize(
    ("more", "settings", "said"),
    [
        (("--region", "eu-north-1"), "", "no price of S3 in eu-north-1"),
        (("--rules", "gone.json"), "", "rules cannot be read"),
        (("--inventory", "gone"), "", "manifest cannot be read"),
        ((), "prefixes: [{prefix: a, lives_days: 3}]\n", "lives_days"),
        ((), "prefixes: [{prefix: a}, {prefix: a}]\n", "stands twice"),
    ],
)
def test_what_cannot_be_is_refused_with_its_remedy(
    more: tuple[str, ...], settings: str, said: str, bench: Bench
) -> None:
    bench.lay()
    told = bench.run(*more, *(bench.settings(settings) if settings else ()))
    assert told.status == 1
    error = told.document["error"]
    assert said in f"{error['where']} {error['what']}"
    assert error["remedy"]


def test_more_prefixes_than_a_bucket_takes_rules_are_refused(bench: Bench) -> None:
    bench.lay(Bucket([Stored(f"{number}/a", 1 << 20) for number in range(1001)], FLEET.requests[:1]))
    told = bench.run()
    assert told.status == 1
    assert "--prefix-depth" in told.document["error"]["remedy"]
    assert bench.run("--prefix-depth", "0").status == 0


def test_memory_does_not_grow_with_lines(tmp_path: Path) -> None:
    import tracemalloc

    from cost.tiering.reading import Sources, gather

    peaks = []
    for count in (1_000, 8_000):
        folder = tmp_path / str(count)
        objects = [Stored(f"raw/{number}", 1 << 20, 50.5 + number % 50) for number in range(count)]
        write_inventory(folder, Bucket(objects))
        write_access_log(folder / "log", [replace(FLEET.requests[0], key=each.key, days_ago=9.0) for each in objects])
        del objects
        tracemalloc.start()
        gathered = gather(Sources(folder, access_logs=(folder / "log",), most_objects=500))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert gathered.watch.lines == count
        assert (
            sum(totals.objects for kinds in gathered.asked.holdings.cells.values() for totals in kinds.values())
            == count
        )
        assert len(gathered.asked.holdings.sample.objects) <= 500
    assert peaks[1] < 2 * peaks[0]
