"""What the vehicle's own recorder stores of a drive: CAN frames and measured groups, on its own clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.scenario.can_bus import layouts, pack
from platform_lib.scenario.clocks import Clock, Times, keep_mask
from platform_lib.scenario.model import WHEELBASE_M, Command, DriveSpec
from platform_lib.scenario.recording import Column, Recording

STEERING_RATIO = 15.0
TRACK_M = 1.6
_MASS_KG = 1850.0
_WHEEL_RADIUS_M = 0.33
_GEAR_RATIO = 9.0
_KMH = 3.6

_MESSAGE_HZ = {
    "WheelSpeeds": 100, "Steering": 100, "Inertial": 100, "Pedals": 50, "Powertrain": 50, "Body": 20, "Battery": 10,
}  # fmt: skip
_VOLTAGE_V, _RESISTANCE_OHM = 398.0, 0.09


@dataclass(frozen=True, slots=True)
class Frames:
    """CAN frames in the order of their stamps.

    Attributes:
        stamp_ns: (N,) on the recorder's clock.
        frame_id: (N,) uint32.
        length_bytes: (N,) uint8.
        data: (N, 8) uint8.
        lost: Message -> how many of its frames the recorder lost.
    """

    stamp_ns: Times
    frame_id: NDArray[np.uint32]
    length_bytes: NDArray[np.uint8]
    data: NDArray[np.uint8]
    lost: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MeasuredGroup:
    """Channels that share their time stamps: name -> (unit, values)."""

    name: str
    stamp_ns: Times
    channels: Mapping[str, tuple[str, Column]]


@dataclass(frozen=True, slots=True)
class _Motion:
    """The ego's columns at the times of one message."""

    time_s: Column
    v_mps: Column
    accel_mps2: Column
    yaw_rate_rps: Column
    steer_rad: Column

    @property
    def torque_nm(self) -> Column:
        """Motor torque that overcomes inertia, air and rolling resistance."""
        force = _MASS_KG * self.accel_mps2 + 0.42 * self.v_mps**2 + 180.0 * np.minimum(self.v_mps, 1.0)
        return np.asarray(np.clip(force, -6000.0, 9000.0) * _WHEEL_RADIUS_M / _GEAR_RATIO)

    @property
    def current_a(self) -> Column:
        """Battery current; positive discharges."""
        return np.asarray((self.torque_nm * _GEAR_RATIO / _WHEEL_RADIUS_M * self.v_mps / 0.9 + 900.0) / _VOLTAGE_V)


def _motion(recording: Recording, time_s: Column) -> _Motion:
    return _Motion(
        time_s,
        recording.at(time_s, recording.v_mps),
        recording.at(time_s, recording.accel_mps2),
        recording.at(time_s, recording.yaw_rate_rps),
        recording.at(time_s, recording.steer_rad),
    )


def bus_frames(spec: DriveSpec, recording: Recording, clock: Clock, rng: np.random.Generator) -> Frames:
    """Send every message at its rate, lose some, and stamp the rest with the recorder's clock."""
    parts: list[tuple[Times, int, int, NDArray[np.uint8]]] = []
    lost = {}
    for phase, (name, rate_hz) in enumerate(_MESSAGE_HZ.items()):
        time_s = np.arange(0.001 + 0.0013 * phase, spec.duration_s, 1.0 / rate_hz)
        motion = _motion(recording, time_s)
        values = _VALUES[name](motion, spec, recording, rng)
        message = layouts()[name]
        data = _pages(values, time_s) if name == "Battery" else pack(message, values)
        keep = keep_mask(len(time_s), rng, single=0.003, burst=max(rate_hz // 12, 1))
        reference_ns = spec.start_ns + np.round(time_s[keep] * 1e9).astype(np.int64)
        parts.append(
            (clock.stamp_ns(reference_ns, spec.start_ns, rng), message.frame_id, message.length_bytes, data[keep])
        )
        lost[name] = int((~keep).sum())
    stamp = np.concatenate([part[0] for part in parts])
    order = np.argsort(stamp, kind="stable")
    return Frames(
        stamp_ns=stamp[order],
        frame_id=np.concatenate([np.full(len(p[0]), p[1], np.uint32) for p in parts])[order],
        length_bytes=np.concatenate([np.full(len(p[0]), p[2], np.uint8) for p in parts])[order],
        data=np.concatenate([part[3] for part in parts])[order],
        lost=lost,
    )


def measured_groups(
    spec: DriveSpec, recording: Recording, clock: Clock, rng: np.random.Generator
) -> tuple[MeasuredGroup, ...]:
    """Return the groups a measurement unit adds beside the bus."""

    def stamped(time_s: Column) -> Times:
        return clock.stamp_ns(spec.start_ns + np.round(time_s * 1e9).astype(np.int64), spec.start_ns, rng)

    fast = _motion(recording, np.arange(0.0005, spec.duration_s, 0.02))
    slow_s = np.arange(0.0005, spec.duration_s, 1.0)
    count = len(fast.time_s)
    return (
        MeasuredGroup(
            "powertrain",
            stamped(fast.time_s),
            {
                "vehicle_speed": ("m/s", np.maximum(fast.v_mps + rng.normal(0.0, 0.01, count), 0.0)),
                "motor_torque": ("N.m", fast.torque_nm + rng.normal(0.0, 0.4, count)),
                "battery_voltage": ("V", _VOLTAGE_V - _RESISTANCE_OHM * fast.current_a + rng.normal(0.0, 0.1, count)),
            },
        ),
        MeasuredGroup(
            "environment",
            stamped(slow_s),
            {
                "outside_temperature": ("degC", 9.0 + np.round(rng.normal(0.0, 0.05, len(slow_s)), 2)),
                "tyre_pressure_front_left": ("kPa", 252.0 + np.round(rng.normal(0.0, 0.4, len(slow_s)), 1)),
            },
        ),
    )


_Values = Mapping[str, Column]


def _wheels(motion: _Motion, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> _Values:
    del spec, recording
    half = 0.5 * TRACK_M * motion.yaw_rate_rps
    front = motion.yaw_rate_rps * WHEELBASE_M
    speeds = {
        "WheelSpeedFrontLeft": np.hypot(motion.v_mps - half, front),
        "WheelSpeedFrontRight": np.hypot(motion.v_mps + half, front),
        "WheelSpeedRearLeft": motion.v_mps - half,
        "WheelSpeedRearRight": motion.v_mps + half,
    }
    moving = motion.v_mps > 0.05
    return {
        name: np.where(moving, np.maximum(v + rng.normal(0.0, 0.012, len(v)), 0.0), 0.0) * _KMH
        for name, v in speeds.items()
    }


def _steering(motion: _Motion, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> _Values:
    del spec, rng
    angle = np.degrees(motion.steer_rad) * STEERING_RATIO
    rate = np.gradient(np.degrees(recording.steer_rad) * STEERING_RATIO, recording.time_s)
    return {
        "SteeringWheelAngle": angle,
        "SteeringWheelRate": recording.at(motion.time_s, rate),
        "SteeringCounter": _counter(len(angle)),
        "SteeringAngleValid": np.ones(len(angle)),
    }


def _inertial(motion: _Motion, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> _Values:
    del spec, recording
    count = len(motion.time_s)
    return {
        "YawRate": np.degrees(motion.yaw_rate_rps) + rng.normal(0.0, 0.08, count),
        "LongitudinalAcceleration": motion.accel_mps2 + rng.normal(0.0, 0.03, count),
        "LateralAcceleration": motion.v_mps * motion.yaw_rate_rps + rng.normal(0.0, 0.03, count),
        "InertialCounter": _counter(count),
    }


def _counter(count: int) -> Column:
    return np.asarray(np.arange(count) % 16, dtype=np.float64)


def _pedals(motion: _Motion, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> _Values:
    del spec, recording, rng
    return {
        "AcceleratorPedal": np.clip(8.0 * (motion.v_mps > 0.5) + 30.0 * np.maximum(motion.accel_mps2, 0.0), 0.0, 100.0),
        "BrakePressure": 11.0 * np.maximum(-motion.accel_mps2 - 0.4, 0.0),
        "BrakeLight": (motion.accel_mps2 < -0.7).astype(np.float64),
    }


def _powertrain(motion: _Motion, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> _Values:
    del spec, recording
    count = len(motion.time_s)
    return {
        "VehicleSpeed": np.maximum(motion.v_mps + rng.normal(0.0, 0.008, count), 0.0) * (motion.v_mps > 0.05) * _KMH,
        "MotorTorque": motion.torque_nm,
        "Gear": np.full(count, 3.0),
        "MotorTemperature": 61.0 + np.floor(motion.time_s / 9.0),
    }


def _body(motion: _Motion, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> _Values:
    del rng
    frame = np.clip(np.searchsorted(recording.frame_s, motion.time_s, side="right") - 1, 0, None)
    command = recording.command[frame]
    return {
        "TurnIndicator": np.select(
            [command == Command.CHANGE_LANE_LEFT, command == Command.CHANGE_LANE_RIGHT], [1.0, 2.0]
        ),
        "Headlights": np.full(len(frame), 1.0 if spec.weather == "clear" else 2.0),
        "Wipers": np.full(len(frame), 2.0 if spec.weather == "rain" else 0.0),
    }


def _battery(motion: _Motion, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> _Values:
    del spec, recording, rng
    voltage = _VOLTAGE_V - _RESISTANCE_OHM * motion.current_a
    return {
        "PackVoltage": voltage,
        "PackCurrent": motion.current_a,
        "StateOfCharge": 71.0 - 0.002 * motion.time_s,
        "CellVoltageMin": voltage / 108 - 0.012,
        "CellVoltageMax": voltage / 108 + 0.009,
        "CellTemperature": np.full(len(voltage), 24.5),
    }


def _pages(values: _Values, time_s: Column) -> NDArray[np.uint8]:
    """Pack the two pages of the battery message in turn."""
    message, odd = layouts()["Battery"], np.arange(len(time_s)) % 2 == 1
    first = {name: values[name] for name in ("PackVoltage", "PackCurrent", "StateOfCharge")}
    second = {name: values[name] for name in ("CellVoltageMin", "CellVoltageMax", "CellTemperature")}
    page = np.ones(len(time_s))
    return np.where(odd[:, None], pack(message, {"BatteryPage": page, **second}), pack(message, first))


_VALUES = {
    "WheelSpeeds": _wheels,
    "Steering": _steering,
    "Inertial": _inertial,
    "Pedals": _pedals,
    "Powertrain": _powertrain,
    "Body": _body,
    "Battery": _battery,
}
