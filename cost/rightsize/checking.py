"""Checks a packing by counting anew, sharing nothing with what packs: no node overfull, every pod in one place. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cost.rightsize.packing import Packing, Pod

_WHOLE = 1000


def faults(packing: Packing, pods: Sequence[Pod]) -> list[str]:
    """Return everything that is wrong with a packing; nothing of a sound one."""
    found = list(_places(packing, pods))
    for number, (shape, held) in enumerate(packing.nodes):
        if not 0 <= shape < len(packing.shapes):
            found.append(f"node {number} is of no shape")
            continue
        found += _node(f"node {number} ({packing.shapes[shape].name})", packing, number, pods)
        if not held:
            found.append(f"node {number} is empty")
    used = Counter(shape for shape, _ in packing.nodes)
    for shape, count in used.items():
        most = packing.shapes[shape].most if 0 <= shape < len(packing.shapes) else None
        if most is not None and count > most:
            found.append(f"{count} nodes of {packing.shapes[shape].name}, and there are {most}")
    return found


def _places(packing: Packing, pods: Sequence[Pod]) -> Iterator[str]:
    seen = Counter(placed.pod for _, held in packing.nodes for placed in held)
    seen.update(packing.unplaced)
    for number in sorted(set(seen) - set(range(len(pods)))):
        yield f"pod {number} does not exist"
    for number, pod in enumerate(pods):
        if seen[number] != 1:
            yield f"pod {pod.name} is in {seen[number]} places"


def _node(place: str, packing: Packing, number: int, pods: Sequence[Pod]) -> Iterator[str]:
    shape_number, held = packing.nodes[number]
    shape = packing.shapes[shape_number]
    cpu = memory = 0
    gpu: Counter[int] = Counter()
    for placed in held:
        if not 0 <= placed.pod < len(pods):
            continue
        pod = pods[placed.pod]
        cpu, memory = cpu + pod.cpu_milli, memory + pod.memory_mib
        if len(set(placed.gpus)) != pod.gpus or len(placed.gpus) != pod.gpus:
            yield f"{place}: {pod.name} has {len(set(placed.gpus))} GPUs and asks for {pod.gpus}"
        if pod.gpus and pod.models and shape.model not in pod.models:
            yield f"{place}: {pod.name} does not accept {shape.model or 'no GPU'}"
        for index in placed.gpus:
            gpu[index] += pod.gpu_milli
    if cpu > shape.cpu_milli:
        yield f"{place}: {cpu} milli CPU of {shape.cpu_milli}"
    if memory > shape.memory_mib:
        yield f"{place}: {memory} MiB of {shape.memory_mib}"
    for index, used in sorted(gpu.items()):
        if not 0 <= index < shape.gpus:
            yield f"{place}: has no GPU {index}"
        elif used > _WHOLE:
            yield f"{place}: GPU {index} holds {used} of {_WHOLE}"
