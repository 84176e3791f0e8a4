"""What is said of a drive's clocks, and how two counters are named."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.datasets.drive_clocks import SyncPair, clock_summary, summarise_clock
from platform_lib.errors import UsageError
from platform_lib.timeline import estimate_clock_from_events

T0 = 1_780_000_000_000_000_000


def test_counters_are_named_by_stream_and_signal() -> None:
    pair = SyncPair.parse("0:CAN/Sync:Counter=/sync:data")
    assert pair.source == ("0:CAN/Sync", "Counter")
    assert pair.reference == ("/sync", "data")


@pytest.mark.parametrize("text", ["", "a:b", "a=b", "a:b=c", "a:b=:c", "a:=b:c", "a:b=c:d=e:f"])
def test_what_names_no_two_counters_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        SyncPair.parse(text)
    assert "STREAM:SIGNAL" in str(refused.value)


def test_an_aligned_clock_says_all_of_it_and_a_refused_one_why() -> None:
    source_ns = T0 + np.arange(50) * 100_000_000
    known = summarise_clock(estimate_clock_from_events(source_ns, source_ns + 250_000_000), method="events").document()
    assert known["offset_s"] == pytest.approx(0.25)
    assert known["verdict"] == "aligned"
    assert known["signals"] == ["50 of 50 events"]
    assert all(known[name] is not None for name in ("pivot_ns", "offset_sigma_s", "drift_ppm", "drift_sigma_ppm"))
    unknown = summarise_clock(estimate_clock_from_events(source_ns[:3], source_ns[:3])).document()
    assert unknown["verdict"] == "refused"
    assert unknown["offset_s"] is None
    assert "3 of 3" in str(unknown["reason"])


def test_the_clocks_of_a_dataset_in_a_line() -> None:
    assert clock_summary({}) is None
    clocks = {"a": {"offset_sigma_s": 0.002}, "b": {"offset_sigma_s": 0.0024}}
    assert clock_summary(clocks) == "clocks: 2 drives aligned, sigma 2.2 ms, at most 2.4 ms"
