"""Which class of sensor a stream is of (pure).

A stream's class is decided by its kind and its message type alone, never by its name: names are a team's own.

| class | streams |
|---|---|
| `bus` | messages that a database decodes from CAN, LIN or FlexRay frames, and the raw frames |
| `measured` | other channel groups of MDF files: what a measurement tool recorded of control units |
| `imu` | inertial measurements and magnetic fields |
| `gnss` | satellite fixes, their velocities and times |
| `odometry` | pose and speed as the vehicle estimates them |
| `camera` | pictures, video, camera calibrations |
| `lidar` | laser scans and point clouds |
| `radar` | radar scans and tracks |
| `objects` | what a perception saw: detections, tracks, scenes |
| `other` | every other message, and what nobody declares |
"""

from __future__ import annotations

from typing import Literal, get_args

SensorClass = Literal["bus", "measured", "imu", "gnss", "odometry", "camera", "lidar", "radar", "objects", "other"]
SENSOR_CLASSES: tuple[SensorClass, ...] = get_args(SensorClass)
OTHER: SensorClass = "other"

# Source: the message packages of ROS, https://github.com/ros2/common_interfaces, ros-drivers, autoware_msgs; Foxglove's
# schemas, https://docs.foxglove.dev/docs/visualization/message-schemas. Without package ``msg``, in lower case.
_TYPES: dict[SensorClass, tuple[str, ...]] = {
    "imu": ("sensor_msgs/imu", "sensor_msgs/magneticfield"),
    "gnss": (
        "sensor_msgs/navsatfix",
        "sensor_msgs/navsatstatus",
        "foxglove.locationfix",
        "foxglove.locationfixes",
    ),
    "odometry": ("nav_msgs/odometry",),
    "camera": (
        "sensor_msgs/image",
        "sensor_msgs/compressedimage",
        "sensor_msgs/camerainfo",
        "foxglove.rawimage",
        "foxglove.compressedimage",
        "foxglove.compressedvideo",
        "foxglove.cameracalibration",
    ),
    "lidar": (
        "sensor_msgs/pointcloud",
        "sensor_msgs/pointcloud2",
        "sensor_msgs/laserscan",
        "sensor_msgs/multiecholaserscan",
        "foxglove.pointcloud",
        "foxglove.laserscan",
    ),
    "objects": ("foxglove.sceneupdate",),
}
_PACKAGES: dict[str, SensorClass] = {
    "gps_msgs": "gnss",
    "ublox_msgs": "gnss",
    "novatel_oem7_msgs": "gnss",
    "nmea_msgs": "gnss",
    "velodyne_msgs": "lidar",
    "ouster_msgs": "lidar",
    "ouster_sensor_msgs": "lidar",
    "livox_ros_driver2": "lidar",
    "radar_msgs": "radar",
    "can_msgs": "bus",
    "vision_msgs": "objects",
    "derived_object_msgs": "objects",
    "autoware_perception_msgs": "objects",
    "autoware_auto_perception_msgs": "objects",
}
_CLASS_OF_TYPE = {name: sensor for sensor, names in _TYPES.items() for name in names}


def sensor_class(kind: str, message_type: str | None) -> SensorClass:
    """Return the class of a stream.

    Args:
        kind: ``signal``, ``message`` or ``can``, as `platform_lib.logs.model.Stream` has it.
        message_type: The type that the log names; of a decoded bus message its name.
    """
    if kind == "can":
        return "bus"
    if kind == "signal":
        return "measured" if message_type is None else "bus"
    if message_type is None:
        return OTHER
    name = plain_type(message_type).lower().replace("foxglove_msgs/", "foxglove.", 1)
    return _CLASS_OF_TYPE.get(name) or _PACKAGES.get(name.partition("/")[0], OTHER)


def plain_type(message_type: str) -> str:
    """Return a message type as ROS 1 writes it, so that a type has one name: ``sensor_msgs/Imu``."""
    return message_type.replace("/msg/", "/", 1)
