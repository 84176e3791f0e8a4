"""Our packing against cantools' decoder."""

from __future__ import annotations

import cantools
import numpy as np
import pytest

from platform_lib.scenario.can_bus import DBC_TEXT, layouts, pack

DATABASE = cantools.database.load_string(DBC_TEXT, "dbc")


@pytest.mark.parametrize("name", ["WheelSpeeds", "Steering", "Inertial", "Pedals", "Powertrain", "Body"])
def test_cantools_reads_back_what_was_packed(name: str) -> None:
    message = DATABASE.get_message_by_name(name)
    rng = np.random.default_rng(5)
    values = {signal.name: rng.uniform(signal.minimum, signal.maximum, 40) for signal in message.signals}
    frames = pack(layouts()[name], values)
    for row, frame in enumerate(frames):
        assert not frame[message.length :].any()
        found = message.decode(frame[: message.length].tobytes(), decode_choices=False)
        for signal in message.signals:
            assert float(found[signal.name]) == pytest.approx(values[signal.name][row], abs=0.5 * signal.scale + 1e-9)


def test_both_byte_orders_and_both_signs_are_in_use() -> None:
    signals = [signal for layout in layouts().values() for signal in layout.signals.values()]
    assert {(signal.big_endian, signal.signed) for signal in signals} == {
        (True, True), (True, False), (False, True), (False, False),
    }  # fmt: skip


def test_out_of_range_saturates_instead_of_wrapping() -> None:
    frames = pack(layouts()["Pedals"], {"AcceleratorPedal": np.array([1e6, -5.0])})
    assert frames[:, 0].tolist() == [255, 0]


def test_a_signal_the_message_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        pack(layouts()["Pedals"], {"Clutch": np.zeros(1)})
