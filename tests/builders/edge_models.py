"""Models that people bring to the edge compiler: small ones, of each kind, exported by torch at any opset."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
# Makes a module, and says the shapes of its inputs and the names of its outputs.
Build = Callable[[], tuple[Any, dict[str, tuple[int, ...]], list[str]]]
# torch's exporter knows up to here; onnx itself converts the rest of the way.
_NEWEST_EXPORTED = 20


@dataclass(frozen=True)
class Brought:
    """An ONNX file with samples that fit it, and what torch answered to the frozen ones."""

    path: Path
    calibration: Arrays
    frozen: Arrays
    reference: Arrays


def resnet(width: int, size: int) -> tuple[Any, dict[str, tuple[int, ...]], list[str]]:
    """Return resnet18's layout (4 stages of 2 basic blocks); `width` 64 and `size` 224 are the known one."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, taken: int, given: int, stride: int) -> None:
            super().__init__()
            self.one = nn.Conv2d(taken, given, 3, stride, 1, bias=False)
            self.one_norm, self.two_norm = nn.BatchNorm2d(given), nn.BatchNorm2d(given)
            self.two = nn.Conv2d(given, given, 3, 1, 1, bias=False)
            same = stride == 1 and taken == given
            short = nn.Sequential(nn.Conv2d(taken, given, 1, stride, bias=False), nn.BatchNorm2d(given))
            self.short = nn.Identity() if same else short

        def forward(self, x):
            y = torch.relu(self.one_norm(self.one(x)))
            return torch.relu(self.two_norm(self.two(y)) + self.short(x))

    stem = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    stages = [
        block
        for stage in range(4)
        for block in (
            Block(widths[stage], widths[stage + 1], 1 if stage == 0 else 2),
            Block(widths[stage + 1], widths[stage + 1], 1),
        )
    ]
    net = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 10))
    return net, {"image": (1, 3, size, size)}, ["logits"]


def vit_bev(width: int = 32, size: int = 32) -> tuple[Any, dict[str, tuple[int, ...]], list[str]]:
    """Return a small bird's-eye-view net: conv stem, two transformer blocks with GELU, deconvolution head."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

        def forward(self, x):
            batch, tokens, _ = x.shape
            heads = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
            scores = (heads[0] @ heads[1].transpose(-2, -1)) * (width // 4) ** -0.5
            mixed = (scores.softmax(-1) @ heads[2]).transpose(1, 2).reshape(batch, tokens, width)
            x = x + self.out(mixed)
            return x + self.mlp(self.norm2(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                *(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()),
                *(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()),
            )
            self.blocks = nn.Sequential(Block(), Block())
            self.head = nn.Sequential(nn.ConvTranspose2d(width, 16, 2, 2), nn.ReLU(), nn.Conv2d(16, 2, 1))

        def forward(self, image):
            features = self.stem(image)
            side = features.shape[-1]
            tokens = self.blocks(features.flatten(2).transpose(1, 2))
            return self.head(tokens.transpose(1, 2).reshape(-1, width, side, side))

    return Net(), {"image": (1, 3, size, size)}, ["bev"]


def detector(width: int = 16, size: int = 32) -> tuple[Any, dict[str, tuple[int, ...]], list[str]]:
    """Return a detector's body and head: a pyramid of two levels, boxes and scores; what follows (NMS) is not in it."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(
                nn.Conv2d(3, width, 3, 2, 1), nn.SiLU(), nn.Conv2d(width, width, 3, 2, 1), nn.SiLU()
            )
            self.deeper = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.SiLU())
            self.up = nn.Upsample(scale_factor=2, mode="nearest")
            self.box, self.score = nn.Conv2d(2 * width, 4, 1), nn.Conv2d(2 * width, 5, 1)

        def forward(self, image):
            fine = self.down(image)
            both = torch.cat([fine, self.up(self.deeper(fine))], 1)
            boxes = torch.exp(self.box(both).clamp(-4, 4)).flatten(2).transpose(1, 2)
            return boxes, self.score(both).sigmoid().flatten(2).transpose(1, 2)

    return Net(), {"image": (1, 3, size, size)}, ["boxes", "scores"]


def fusion() -> tuple[Any, dict[str, tuple[int, ...]], list[str]]:
    """Return a net of three inputs and three outputs, one of them a vector."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.camera = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
            self.lidar = nn.Sequential(nn.Conv2d(4, 16, 3, 2, 1), nn.ReLU())
            self.heat, self.state = nn.Conv2d(32, 2, 1), nn.Linear(6, 32)
            self.plan = nn.Linear(64, 8)

        def forward(self, camera, lidar, state):
            both = torch.cat([self.camera(camera), self.lidar(lidar)], 1)
            vector = torch.cat([both.mean((2, 3)), torch.tanh(self.state(state))], 1)
            return self.heat(both), self.plan(vector), vector

    return Net(), {"camera": (1, 3, 24, 32), "lidar": (1, 4, 24, 32), "state": (1, 6)}, ["heat", "plan", "vector"]


KINDS: dict[str, Build] = {
    "resnet": lambda: resnet(8, 32),
    "vit_bev": vit_bev,
    "detector": detector,
    "fusion": fusion,
}


def bring(
    kind: str, folder: Path, *, opset: int = 20, count: int = 8, dynamic_batch: bool = False, net: Build | None = None
) -> Brought:
    """Export one kind of model, or what `net` builds, into `folder`, with `count` samples of each set."""
    import torch

    torch.manual_seed(0)  # before it is built: its weights are random, and the same ones every time
    module, inputs, outputs = (net or KINDS[kind])()
    module.eval()
    _settle(module, inputs)
    path = folder / f"{kind}-{opset}.onnx"
    frozen = _samples(inputs, count, seed=1)
    rows = [tuple(torch.from_numpy(frozen[name][row]) for name in inputs) for row in range(count)]
    axes = {name: {0: "batch"} for name in (*inputs, *outputs)} if dynamic_batch else None
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that this exporter is the older one
        torch.onnx.export(
            *(module, rows[0], path),
            input_names=list(inputs),
            output_names=outputs,
            opset_version=min(opset, _NEWEST_EXPORTED),
            dynamic_axes=axes,
            dynamo=False,
        )
        answers = [module(*row) for row in rows]
    if opset > _NEWEST_EXPORTED:
        onnx.save(onnx.version_converter.convert_version(onnx.load(path), opset), path)
    answers = [row if isinstance(row, tuple) else (row,) for row in answers]
    reference = {name: np.stack([row[at].numpy() for row in answers]) for at, name in enumerate(outputs)}
    return Brought(path, _samples(inputs, 2 * count, seed=2), frozen, reference)


def _settle(module: Any, inputs: dict[str, tuple[int, ...]]) -> None:
    """Give the batch norms statistics of their own: as made, a random net's numbers grow from layer to layer."""
    import torch

    module.train()
    with torch.no_grad():
        for seed in range(20):
            values = _samples({name: (8, *shape[1:]) for name, shape in inputs.items()}, 1, seed)
            module(*(torch.from_numpy(values[name][0]) for name in inputs))
    module.eval()


def _samples(inputs: dict[str, tuple[int, ...]], count: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in inputs.items()}
