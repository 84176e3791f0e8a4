from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.prices.snapshot import load
from cost.rightsize.bound import above, relax, rounded
from cost.rightsize.checking import faults
from cost.rightsize.cluster_csv import read_pods, read_shapes
from cost.rightsize.packer import cost_of, pack
from cost.rightsize.packing import Packing, Placed, Pod, Shape, best_fit
from platform_lib.cli import run
from platform_lib.errors import ConfigError

CLUSTER = Path(__file__).resolve().parents[4] / "shared" / "data" / "cluster"
BIG, SMALL = Shape("big", 16_000, 64_000, 4, "A"), Shape("small", 4_000, 16_000)


def random_pods(seed: int, count: int) -> list[Pod]:
    random = np.random.default_rng(seed)
    pods = []
    for number in range(count):
        gpus = int(random.choice([0, 0, 1, 1, 1, 2]))
        milli = 0 if not gpus else 1000 if gpus > 1 else int(random.choice([300, 460, 600, 1000]))
        pods.append(Pod(f"p{number}", int(random.integers(200, 4000)), int(random.integers(200, 16_000)), gpus, milli))
    return pods


def test_best_fit_takes_the_node_where_least_is_left() -> None:
    pods = [Pod("a", 10_000, 100), Pod("b", 3_000, 100), Pod("c", 900, 100)]
    packing = best_fit(pods, [BIG, SMALL], [0, 1, 2])
    assert faults(packing, pods) == []
    # b goes to the rest of a's node, as nothing is opened that is not needed.
    assert [[placed.pod for placed in held] for _, held in packing.nodes] == [[0, 1, 2]]


def test_two_pods_of_more_than_half_a_gpu_never_share_it() -> None:
    pods = [Pod(f"p{number}", 100, 100, 1, 600) for number in range(5)] + [Pod("rest", 100, 100, 1, 400)]
    packing = best_fit(pods, [BIG])
    assert faults(packing, pods) == []
    assert len(packing.nodes) == 2


def test_a_pod_that_wants_another_model_stays_out() -> None:
    pods = [Pod("a", 100, 100, 1, 1000, frozenset({"B", "C"}))]
    found = pack(pods, [BIG])
    assert found.ours.unplaced == (0,)
    assert found.bound.least_unplaced == 1
    assert pack(pods, [BIG, replace(BIG, name="other", model="C")]).ours.unplaced == ()


@pytest.mark.parametrize("seed", range(4))
def test_packing_is_sound_at_least_as_tight_as_best_fit_and_above_the_bound(seed: int) -> None:
    pods = random_pods(seed, 60)
    shapes = [replace(BIG, most=30 if seed % 2 else 5), replace(SMALL, most=20)]
    found = pack(pods, shapes)
    for packing in (found.ours, found.best_fit, found.in_order):
        assert faults(packing, pods) == []
        assert cost_of(found.ours, priced=False) <= cost_of(packing, priced=False)
    assert len(found.ours.unplaced) >= found.bound.least_unplaced
    if not found.ours.unplaced:
        assert len(found.ours.nodes) >= found.bound.least_whole - 1e-6 >= found.bound.least_cost - 1e-3


def test_the_bound_is_reached_where_it_can_be() -> None:
    pods = [Pod(f"p{number}", 8_000, 32_000) for number in range(8)]
    found = pack(pods, [BIG])
    assert len(found.ours.nodes) == 4
    assert found.bound.least_cost == pytest.approx(4)


def test_the_bound_knows_what_sums_do_not() -> None:
    # 8 GPUs' worth of 0.6 sum up to 4.8, and no two fit on one.
    pods = [Pod(f"p{number}", 10, 10, 1, 600) for number in range(8)]
    assert relax(pods, [BIG]).least_cost == pytest.approx(2)


def test_money_decides_where_all_is_priced() -> None:
    dear, cheap = replace(BIG, usd_per_hour=Decimal(10)), replace(SMALL, usd_per_hour=Decimal(1))
    pods = [Pod(f"p{number}", 1_000, 4_000) for number in range(16)]
    found = pack(pods, [dear, cheap])
    assert found.ours.usd_per_hour() == Decimal(4)
    assert found.bound.priced
    assert found.bound.least_cost == pytest.approx(4)
    assert pack(pods, [dear, SMALL]).ours.usd_per_hour() is None or found.bound.priced


@given(
    st.lists(st.fractions(0, 1, max_denominator=24), min_size=1, max_size=8),
    st.sampled_from([above(Fraction(1, 3)), above(Fraction(1, 2)), rounded(1), rounded(3)]),
)
@settings(max_examples=40, deadline=None)
def test_dual_feasible_functions_never_make_a_full_bin_fuller(sizes: list, function) -> None:
    total = sum(sizes)
    scaled = [size / total for size in sizes] if total > 1 else sizes
    assert sum(function(size) for size in scaled) <= 1


PODS = [Pod("a", 3_000, 100, 1, 600), Pod("b", 3_000, 100, 1, 400), Pod("c", 4_000, 100, 2, 1000, frozenset({"A"}))]
SOUND = Packing((BIG,), ((0, (Placed(0, (0,)), Placed(1, (0,)), Placed(2, (1, 2)))),), ())


def test_the_checker_passes_a_sound_packing() -> None:
    assert faults(SOUND, PODS) == []


@pytest.mark.parametrize(
    ("shape", "held", "unplaced", "says"),
    [
        (BIG, [(0, (0,)), (1, (0,))], (), "pod c is in 0 places"),
        (BIG, [(0, (0,)), (1, (0,)), (2, (1, 2))], (2,), "pod c is in 2 places"),
        (BIG, [(0, (0,)), (1, (0,)), (2, (1, 2)), (3, ())], (), "pod 3 does not exist"),
        (replace(BIG, cpu_milli=9_999), [(0, (0,)), (1, (0,)), (2, (1, 2))], (), "10000 milli CPU of 9999"),
        (replace(BIG, memory_mib=299), [(0, (0,)), (1, (0,)), (2, (1, 2))], (), "300 MiB of 299"),
        (BIG, [(0, (0,)), (1, (1,)), (2, (1, 2))], (), "GPU 1 holds 1400 of 1000"),
        (BIG, [(0, (0,)), (1, (0,)), (2, (1, 4))], (), "has no GPU 4"),
        (BIG, [(0, (0,)), (1, (0,)), (2, (1, 1))], (), "c has 1 GPUs and asks for 2"),
        (replace(BIG, model="B"), [(0, (0,)), (1, (0,)), (2, (1, 2))], (), "c does not accept B"),
        (replace(BIG, most=0), [(0, (0,)), (1, (0,)), (2, (1, 2))], (), "1 nodes of big, and there are 0"),
    ],
)
def test_the_checker_finds_what_is_planted(shape: Shape, held: list, unplaced: tuple, says: str) -> None:
    packing = Packing((shape,), ((0, tuple(Placed(*each) for each in held)),), unplaced)
    assert any(says in fault for fault in faults(packing, PODS)), faults(packing, PODS)


def test_broken_rows_of_a_cluster_are_counted(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes.csv"
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\na,1000,1024,1,T4\nb,1000,1024,1,T4\nc,many,1024,1,T4\n")
    shapes, broken = read_shapes(nodes)
    assert [(shape.most, shape.model, shape.gpus) for shape in shapes] == [(2, "T4", 1)]
    assert broken.counts == {"no number (ValueError)": 1}
    assert broken.first == {"no number (ValueError)": ("line 4",)}
    pods = tmp_path / "pods.csv"
    pods.write_text("name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\na,1,1,1,1500,\n")
    with pytest.raises(ConfigError, match="no sound row"):
        read_pods(pods)
    pods.write_text("name\na\n")
    with pytest.raises(ConfigError, match="columns are missing: cpu_milli"):
        read_pods(pods)


@pytest.mark.skipif(not CLUSTER.is_dir(), reason="the real cluster's lists (../shared/data/cluster) are not here")
def test_a_part_of_the_real_cluster_is_packed_tighter_than_best_fit() -> None:
    shapes, broken_nodes = read_shapes(CLUSTER / "openb_node_list_gpu_node.csv")
    pods, broken_pods = read_pods(CLUSTER / "openb_pod_list_default.csv", frozenset({"Running"}))
    assert (sum(shape.most or 0 for shape in shapes), len(pods)) == (1213, 5193)
    assert broken_nodes.total == broken_pods.total == 0
    some = pods[::12]
    found = pack(some, shapes)
    assert faults(found.ours, some) == []
    assert found.ours.unplaced == ()
    assert len(found.ours.nodes) <= 0.9 * min(len(found.best_fit.nodes), len(found.in_order.nodes))
    assert len(found.ours.nodes) <= 1.15 * found.bound.least_whole


def test_the_command_names_the_source_and_day_of_each_price(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes, pods = tmp_path / "nodes.csv", tmp_path / "pods.csv"
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\nn1,64000,262144,0,\n")
    head = (
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
    )
    pods.write_text(f"{head}\n" + "".join(f"p{n},1500,2048,0,0,,LS,Running,0,,0\n" for n in range(3)))
    command = ["cost", "rightsize", "nodes", "--nodes", str(nodes), "--pods", str(pods), "--types", "m7i.*large"]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    book = load()
    assert told["prices"]
    for line in told["prices"]:
        price = book.on_demand(line["type"], "us-east-1")
        assert price is not None
        assert (line["usd_per_hour"], line["source"]) == (str(price.usd), price.origin)
    assert run(command) == 0
    assert f"prices of {told['prices'][0]['source']}" in " ".join(capsys.readouterr().out.split())
