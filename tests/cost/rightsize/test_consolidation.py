from __future__ import annotations

from decimal import Decimal

import pytest

from cost.rightsize.consolidation import Overfull, Standing, consolidate, disruption_of, score
from cost.rightsize.packing import Pod, Shape

PRICED = Shape("m7i.xlarge", 4_000, 16_000, usd_per_hour=Decimal("0.2"))
DEAR = Shape("m7i.4xlarge", 16_000, 64_000, usd_per_hour=Decimal("0.8"))


def test_a_pod_disturbs_as_karpenter_has_it() -> None:
    assert disruption_of() == 1.0
    assert disruption_of(deletion_cost=2**27) == 2.0
    assert disruption_of(priority=2**25 * 30) == 10.0
    assert disruption_of(deletion_cost=-(2**31)) == 0.0


def test_the_score_of_a_pool_of_one_node_is_one() -> None:
    assert score(Decimal("0.2"), Decimal("0.2"), 5.0, 5.0) == 1.0
    assert score(Decimal("0.2"), Decimal(0), 5.0, 5.0) is None


def test_the_emptier_node_goes_and_the_full_one_stays() -> None:
    pods = [Pod(f"p{number}", 500, 1_000) for number in range(9)]
    nodes = [
        Standing("full", "a", 0, tuple(range(6))),
        Standing("half", "a", 0, (6, 7)),
        Standing("light", "a", 0, (8,)),
    ]
    moves = consolidate(nodes, pods, [PRICED], [1.0] * 9)
    assert not isinstance(moves, Overfull)
    # The light node's pod takes what room the full one has, so that the half-full one stays.
    (light,) = moves
    assert (light.node, light.pods, light.worth_it) == ("light", 1, True)
    # Of three nodes and nine pods it is a third of the cost and two twelfths of the disruption.
    assert light.score == pytest.approx((1 / 3) / (2 / 12))


def test_disruption_outweighs_a_small_saving() -> None:
    # The cheap node is a fifth of the cost and nearly all of the disruption.
    pods = [Pod(f"p{number}", 100, 100) for number in range(11)]
    nodes = [Standing("cheap", "a", 0, tuple(range(10))), Standing("dear", "a", 1, (10,), "pinned")]
    moves = consolidate(nodes, pods, [PRICED, DEAR], [1.0] * 11)
    assert not isinstance(moves, Overfull)
    (cheap,) = moves
    assert cheap.score == pytest.approx((0.2 / 1.0) / (11 / 13))
    assert cheap.worth_it is False


def test_without_a_price_equal_nodes_are_judged_and_others_are_not() -> None:
    bare = [Shape("x", 4_000, 16_000), Shape("y", 16_000, 64_000)]
    pods = [Pod(f"p{number}", 500, 1_000) for number in range(3)]
    alike = [Standing("a", "pool", 0, (0, 1)), Standing("b", "pool", 0, (2,))]
    found = consolidate(alike, pods, bare, [1.0] * 3)
    assert not isinstance(found, Overfull)
    assert found[0].worth_it is True
    assert found[0].saves_usd_per_hour is None
    mixed = [Standing("a", "pool", 0, (0, 1)), Standing("b", "pool", 1, (2,))]
    unknown = consolidate(mixed, pods, bare, [1.0] * 3)
    assert not isinstance(unknown, Overfull)
    assert all(move.score is None and move.worth_it is None for move in unknown)


def test_a_pinned_node_is_not_emptied_and_an_overfull_one_is_refused() -> None:
    pods = [Pod("a", 500, 1_000), Pod("b", 500, 1_000)]
    nodes = [Standing("x", "p", 0, (0,), "not to be disrupted"), Standing("y", "p", 0, (1,), "no owner")]
    assert consolidate(nodes, pods, [PRICED], [1.0, 1.0]) == ()
    assert consolidate([Standing("x", "p", 0, (0,))], [Pod("a", 5_000, 1)], [PRICED], [1.0]) == Overfull("x")
