"""Nodes and pods of Alibaba's GPU cluster traces (cluster-trace-gpu-v2023): `openb_node_list_*.csv`, `openb_pod_list_*.csv`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cost.rightsize.csv_rows import read_rows
from cost.rightsize.model import BrokenCounter, BrokenRows
from cost.rightsize.packing import Pod, Shape
from platform_lib.errors import ConfigError

NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_COLUMNS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec")
_REMEDY = "nodes: openb_node_list_gpu_node.csv, pods: openb_pod_list_default.csv of alibaba/clusterdata, cluster-trace-gpu-v2023"
_Item = TypeVar("_Item")


def read_shapes(path: Path) -> tuple[tuple[Shape, ...], BrokenRows]:
    """Read nodes; those that are alike become one shape, of which there are so many.

    Raises:
        ConfigError: It cannot be read, or has no sound row.
    """

    def node(row: dict[str, str]) -> Shape:
        gpus = int(row["gpu"])
        model = row["model"] if gpus else ""
        name = f"{model or 'cpu'}-{gpus}x-{int(row['cpu_milli']) // 1000}c-{int(row['memory_mib']) // 1024}g"
        return Shape(name, int(row["cpu_milli"]), int(row["memory_mib"]), gpus, model, 1)

    nodes, broken = _read(path, NODE_COLUMNS, node)
    counts: dict[Shape, int] = {}
    for shape in nodes:
        counts[shape] = counts.get(shape, 0) + 1
    shapes = (
        Shape(shape.name, shape.cpu_milli, shape.memory_mib, shape.gpus, shape.model, count)
        for shape, count in counts.items()
    )
    return tuple(sorted(shapes, key=lambda shape: (-(shape.most or 0), shape.name))), broken


def read_pods(path: Path, phases: frozenset[str] = frozenset()) -> tuple[tuple[Pod, ...], BrokenRows]:
    """Read pods; `gpu_spec` names models, divided by `|`, and empty is any.

    Args:
        path: The file.
        phases: Of `pod_phase`; empty: all.

    Raises:
        ConfigError: It cannot be read, or has no sound row.
    """

    def pod(row: dict[str, str]) -> Pod | None:
        if phases and row.get("pod_phase") not in phases:
            return None
        models = frozenset(part for part in row["gpu_spec"].split("|") if part)
        cpu, memory, gpus, milli = (int(row[name]) for name in ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli"))
        return Pod(row["name"], cpu, memory, gpus, milli, models)

    found, broken = _read(path, POD_COLUMNS, pod)
    return tuple(item for item in found if item is not None), broken


def _read(
    path: Path, columns: tuple[str, ...], made: Callable[[dict[str, str]], _Item]
) -> tuple[list[_Item], BrokenRows]:
    counter, found = BrokenCounter(), []
    for line, row in read_rows(path, columns, remedy=_REMEDY):
        try:
            found.append(made(row))
        except (TypeError, ValueError) as error:
            counter.add(f"no number ({type(error).__name__})", f"line {line}")
    if not found:
        raise ConfigError("has no sound row", where=path, remedy=_REMEDY)
    return found, counter.found()
