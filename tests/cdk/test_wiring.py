from __future__ import annotations

from pathlib import Path

import pytest

from cdk.wiring import StackWiring, Wire, apply_order, destroy_order, needed, read_wiring, write_wiring
from platform_lib.errors import ConfigError


def stack(gives: tuple[str, ...] = (), takes: tuple[tuple[str, str], ...] = ()) -> StackWiring:
    wires = tuple(
        Wire(variable=f"{name}_{output}", stack=name, output=output, stand_in=f"{output}-0") for name, output in takes
    )
    return StackWiring(account="111111111111", region="us-east-1", takes=wires, gives=gives)


def test_waves_follow_what_stacks_take() -> None:
    wiring = {
        "pools": stack(takes=(("cluster", "name"), ("net", "vpc"))),
        "cluster": stack(("name",), (("net", "vpc"),)),
        "net": stack(("vpc",)),
        "alone": stack(),
    }
    assert apply_order(wiring) == [("alone", "net"), ("cluster",), ("pools",)]


def test_what_nobody_gives_is_named() -> None:
    with pytest.raises(ConfigError, match="takes 'vpc' of stack 'net', which does not give it"):
        apply_order({"net": stack(("subnets",)), "cluster": stack((), (("net", "vpc"),))})
    with pytest.raises(ConfigError, match="takes 'vpc' of stack 'nets'"):
        apply_order({"net": stack(("vpc",)), "cluster": stack((), (("nets", "vpc"),))})


def test_two_things_of_one_stand_in_are_refused() -> None:
    wires = [Wire(variable=name, stack=name, output="vpc_id", stand_in="vpc-0") for name in ("ml", "data")]
    with pytest.raises(ValueError, match="ml and data have one stand-in, vpc-0"):
        StackWiring(account="111111111111", region="us-east-1", takes=tuple(wires))
    other = wires[1].model_copy(update={"stand_in": ("vpc-1", "vpc-0")})
    with pytest.raises(ValueError, match="one stand-in"):
        StackWiring(account="111111111111", region="us-east-1", takes=(wires[0], other))


def test_stacks_that_wait_for_each_other_are_named() -> None:
    with pytest.raises(ConfigError, match=r"stacks wait for each other: (a -> b -> a|b -> a -> b)"):
        apply_order({"a": stack(("x",), (("b", "y"),)), "b": stack(("y",), (("a", "x"),))})


def test_it_is_read_as_it_was_written_and_no_half_synthesis_is(tmp_path: Path) -> None:
    wiring = {"net": stack(("vpc",)), "cluster": stack((), (("net", "vpc"),))}
    write_wiring(tmp_path, wiring)
    assert read_wiring(tmp_path) == wiring
    with pytest.raises(ConfigError, match="is no finished synthesis"):
        read_wiring(tmp_path / "elsewhere")


def test_a_stack_brings_what_it_takes_from_and_no_more() -> None:
    wiring = {
        "net": stack(("vpc",)),
        "cluster": stack(("name",), (("net", "vpc"),)),
        "pools": stack((), (("cluster", "name"),)),
        "alone": stack(),
    }
    assert list(needed(wiring, ["cluster"])) == ["net", "cluster"]
    assert list(needed(wiring, ["pools", "alone"])) == ["net", "cluster", "pools", "alone"]
    assert list(needed(wiring, [])) == list(wiring)
    with pytest.raises(ConfigError, match="there is no stack 'clusters'"):
        needed(wiring, ["clusters"])


def test_what_others_take_from_is_taken_away_after_them_and_evidence_last() -> None:
    wiring = {
        "pools": stack(takes=(("cluster", "name"), ("governance-ml", "topic"))),
        "cluster": stack(("name",), (("net", "vpc"),)),
        "net": stack(("vpc",)),
        "governance-ml": stack(("topic",), (("governance-management", "bucket"),)),
        "governance-management": stack(("bucket",)),
    }
    order = destroy_order(wiring)
    assert order == ["pools", "cluster", "net", "governance-ml", "governance-management"]
    assert sorted(order) == sorted(wiring)


def test_evidence_that_takes_from_what_is_gone_before_it_is_refused() -> None:
    wiring = {"net": stack(("vpc",)), "governance-ml": stack((), (("net", "vpc"),))}
    with pytest.raises(ConfigError, match="keeps evidence and takes from 'net'"):
        destroy_order(wiring)
