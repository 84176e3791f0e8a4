"""Small ROS bags, by rosbags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore


def write_bag(folder: Path, plugin: StoragePlugin, count: int = 20, compression: Any = None) -> Path:
    """Write a ROS 2 bag of two topics whose times are out of order."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    text, number = store.types["std_msgs/msg/String"], store.types["std_msgs/msg/Int32"]
    writer = Writer2(folder, version=9, storage_plugin=plugin)
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        one = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        two = writer.add_connection("/number", "std_msgs/msg/Int32", typestore=store)
        for step in range(count):
            time_ns = 1_000 + (step ^ 1)
            message = text(data=f"n{step}") if step % 2 else number(data=step)
            kind = "std_msgs/msg/String" if step % 2 else "std_msgs/msg/Int32"
            writer.write(one if step % 2 else two, time_ns, store.serialize_cdr(message, kind))
    return folder


def write_bag1(path: Path, compression: Any) -> Path:
    """Write a ROS 1 bag of one topic whose times are out of order."""
    store = get_typestore(Stores.ROS1_NOETIC)
    kinds = store.types
    writer = Writer1(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connection = writer.add_connection("/pose", "geometry_msgs/msg/PointStamped", typestore=store)
        for step in range(40):
            stamp = kinds["builtin_interfaces/msg/Time"](sec=step, nanosec=7)
            header = kinds["std_msgs/msg/Header"](seq=step, stamp=stamp, frame_id="map" * (step % 3))
            point = kinds["geometry_msgs/msg/Point"](x=float(step), y=-1.0, z=0.5)
            message = kinds["geometry_msgs/msg/PointStamped"](header=header, point=point)
            data = store.serialize_ros1(message, "geometry_msgs/msg/PointStamped")
            writer.write(connection, 1_000_000_000 + (step ^ 1), data)
    return path
