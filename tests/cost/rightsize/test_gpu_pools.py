from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest
from fake_prometheus import FakePrometheus, serving

from cost.prices.snapshot import load
from cost.report.proposals import ProposalFile
from cost.rightsize.accelerators import GPUS, capacity_of, model_of, shape_of
from cost.rightsize.gpu_pools import GpuDuty, Pool, advise
from cost.rightsize.gpu_reading import read_gpu_csv, read_gpu_prometheus
from cost.rightsize.prometheus import Server, Span
from platform_lib.cli import run
from platform_lib.errors import ConfigError

PRICES = {"p4d.24xlarge": Decimal("21.96"), "g5.48xlarge": Decimal("16.29"), "g6.48xlarge": Decimal("13.35")}


def gpu_of(duties: dict[float, int], *, peak_gib: float = 4.0, node: str = "n1") -> GpuDuty:
    """Return a GPU with so many hours of each duty."""
    gpu = GpuDuty(node, "NVIDIA A100-SXM4-40GB", step_s=3600.0, memory_peak_mib=peak_gib * 1024)
    for duty, hours in duties.items():
        for _ in range(hours):
            gpu.add(duty)
    return gpu


def pool_of(*gpus: GpuDuty, kind: str | None = "p4d.24xlarge", per_node: int = 8) -> Pool:
    named = {}
    for number, gpu in enumerate(gpus):
        gpu.node = f"n{number // per_node}"
        named[gpu.node, str(number)] = gpu
    return Pool("train", kind, named)


BUSY = {0.95: 168}


def test_idle_nodes_are_found_and_priced() -> None:
    pool = pool_of(*(gpu_of(BUSY, peak_gib=38) for _ in range(8)), *(gpu_of({0.0: 168}, peak_gib=2) for _ in range(8)))
    (advice,) = [item for item in advise(pool, PRICES, GPUS["A100-40"]) if item.kind == "idle"]
    assert advice.nodes == ("n1",)
    assert advice.saves_usd_a_month == Decimal("21.96") * 730
    assert "8 of their GPUs hold over 1 GiB" in advice.certainty


def test_an_unknown_price_stays_unknown() -> None:
    advice = advise(pool_of(*(gpu_of({0.0: 168}) for _ in range(8)), kind=None), PRICES, GPUS["A100-40"])
    assert advice[0].kind == "idle"
    assert all(item.saves_usd_a_month is None for item in advice)


def test_one_busy_hundredth_is_not_idle() -> None:
    assert gpu_of({0.0: 166, 0.5: 1}).idle
    assert not gpu_of({0.0: 160, 0.5: 8}).idle


def test_a_smaller_type_has_to_hold_memory_and_work() -> None:
    quiet = pool_of(*(gpu_of({0.1: 168}, peak_gib=16) for _ in range(8)))
    (smaller,) = [item for item in advise(quiet, PRICES, GPUS["A100-40"]) if item.kind == "smaller-type"]
    # g6's L4 has 300 GB/s of 1,555: a duty of 10 % becomes 52 %, which is allowed, and it is the cheapest.
    assert smaller.to_type == "g6.48xlarge"
    assert smaller.saves_usd_a_month == (Decimal("21.96") - Decimal("13.35")) * 730
    assert "52% by datasheet" in smaller.certainty
    full = pool_of(*(gpu_of({0.1: 168}, peak_gib=23) for _ in range(8)))
    assert not [item for item in advise(full, PRICES, GPUS["A100-40"]) if item.kind == "smaller-type"]
    busier = pool_of(*(gpu_of({0.17: 168}, peak_gib=16) for _ in range(8)))
    (other,) = [item for item in advise(busier, PRICES, GPUS["A100-40"]) if item.kind == "smaller-type"]
    assert other.to_type == "g5.48xlarge"


def test_slices_hold_what_fits_them() -> None:
    pool = pool_of(*(gpu_of({0.05: 168}, peak_gib=4) for _ in range(16)))
    kinds = {item.kind: item for item in advise(pool, {}, GPUS["A100-40"])}
    assert "7 pods a GPU by MIG 1g.5gb" in kinds["mig"].what
    assert kinds["mig"].nodes == ("n0",)
    assert "no isolation" in kinds["time-slicing"].what
    too_large = pool_of(*(gpu_of({0.05: 168}, peak_gib=20) for _ in range(16)))
    assert not advise(too_large, {}, GPUS["A100-40"])[0].kind == "mig"


def test_a_busy_pool_stays_and_a_short_history_is_refused() -> None:
    (busy,) = advise(pool_of(*(gpu_of(BUSY, peak_gib=38) for _ in range(8))), PRICES, GPUS["A100-40"])
    assert busy.refused is not None
    assert "95%" in busy.refused
    (short,) = advise(pool_of(*(gpu_of({0.0: 24}) for _ in range(8))), PRICES, GPUS["A100-40"])
    assert short.refused is not None
    assert "1.0 days measured, and a week is needed" in short.refused


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100-40"), ("NVIDIA A100-SXM4-80GB", "A100-80"), ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA L4", "L4"), ("NVIDIA L40S", "L40S"), ("NVIDIA A10G", "A10G"), ("Tesla T4", "T4"), ("NVIDIA H200", "H200"),
    ],
)  # fmt: skip
def test_models_are_known_by_dcgms_names(name: str, model: str) -> None:
    assert model_of(name) is GPUS[model]


def test_an_unknown_model_or_type_is_unknown() -> None:
    assert model_of("NVIDIA B300") is None
    assert capacity_of("q1.large") is None
    assert shape_of("q1.large") is None
    shape = shape_of("m7i.xlarge")
    assert shape is not None
    assert (shape.cpu_milli, shape.gpus) == (3920, 0)


HEAD = ["timestamp", "pool", "node", "gpu", "model", "util_percent", "fb_used_mib", "fb_free_mib", "sm_active"]


def write_gpus(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as lines:
        csv.writer(lines).writerows([HEAD, *rows])
    return path


def test_activity_counts_before_utilisation_and_broken_rows_are_named(tmp_path: Path) -> None:
    rows: list[list[object]] = [[at * 3600, "train", "n1", "0", "Tesla T4", 100, 900, 15000, 0.05] for at in range(40)]
    path = write_gpus(tmp_path / "g.csv", [*rows, [0, "train", "n1", "0", "Tesla T4", 140, 900, 15000, ""]])
    found = read_gpu_csv(path, step_s=3600.0)
    gpu = found.duties["train", "n1", "0"]
    assert gpu.quantile(0.99) == 0.05
    assert gpu.memory_total_mib == 15900
    assert found.broken.first == {"no number (out of range)": ("line 42",)}
    with pytest.raises(ConfigError, match="1 of 1 rows are broken"):
        read_gpu_csv(write_gpus(tmp_path / "g.csv", [["now", "train", "n1", "0", "x", 1, 1, 1, ""]]), step_s=60.0)


def dcgm(node: str, gpu: int) -> tuple[tuple[str, str], ...]:
    return ("Hostname", node), ("gpu", str(gpu)), ("modelName", "NVIDIA A100-SXM4-40GB")


def test_dcgm_series_are_read_from_prometheus() -> None:
    span = Span(1_793_577_600.0, 8, 3600.0)
    times = [span.first_s + at * 3600.0 for at in range(192)]
    prometheus = FakePrometheus(
        {
            "DCGM_FI_PROF_SM_ACTIVE": {dcgm("n1", 0): dict.fromkeys(times, "0.03")},
            "DCGM_FI_DEV_GPU_UTIL": {
                dcgm("n1", 0): dict.fromkeys(times, "100"),
                dcgm("n2", 0): {**dict.fromkeys(times, "7"), times[3]: "NaN", times[4]: "400"},
                (("gpu", "0"),): {times[0]: "1"},
            },
            "DCGM_FI_DEV_FB_USED": {dcgm("n1", 0): {times[5]: "9000", times[6]: "12000"}},
            "DCGM_FI_DEV_FB_FREE": {dcgm("n1", 0): {times[5]: "30000"}},
        }
    )
    with serving(prometheus) as url:
        found = read_gpu_prometheus(Server(url), span, {"n1": ("train", "p4d.24xlarge")})
        prometheus.samples = {}
        with pytest.raises(ConfigError, match="neither DCGM_FI_PROF_SM_ACTIVE nor"):
            read_gpu_prometheus(Server(url), span, {})
    active = found.duties["train", "n1", "0"]
    assert (active.quantile(0.99), active.memory_peak_mib, active.memory_total_mib) == (0.03, 12000, 30000)
    assert active.days == pytest.approx(8)
    elsewhere = found.duties["all NVIDIA A100-SXM4-40GB", "n2", "0"]
    assert elsewhere.quantile(0.99) == 0.07
    assert elsewhere.windows.sum() == 190
    assert found.broken.counts == {"a series without Hostname or gpu": 1, "no share": 1}


def test_the_command_proposes_with_dollars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[list[object]] = [
        [
            at * 3600,
            "train",
            f"n{number // 8}",
            number,
            "NVIDIA A100-SXM4-40GB",
            0 if number >= 8 else 95,
            38000,
            2000,
            "",
        ]
        for at in range(169)
        for number in range(16)
    ]
    usage, out = write_gpus(tmp_path / "g.csv", rows), tmp_path / "proposals.json"
    command = ["cost", "rightsize", "gpus", "--usage", str(usage), "--step", "3600", "--proposals", str(out)]
    assert run([*command, "--pool-type", "train=p4d.24xlarge", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (pool,) = told["pools"]
    assert pool["advice"][0]["kind"] == "idle"
    price = load().on_demand("p4d.24xlarge", "us-east-1")
    assert price is not None
    assert pool["advice"][0]["saves_usd_a_month"] == float(price.usd * 730)
    assert {"meter": str(price.meter), "usd_per_hour": str(price.usd), "source": price.origin} in told["prices"]
    file = ProposalFile.model_validate_json(out.read_text())
    assert any(origin.startswith(price.source) for origin in file.prices)
    (proposal,) = file.proposals
    assert proposal.command == "kubectl drain n1 --ignore-daemonsets --delete-emptydir-data"
    assert run([*command]) == 0
    assert "unknown" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run([*command, "--pool-type", "p4d"])
    assert "names no type" in capsys.readouterr().err
