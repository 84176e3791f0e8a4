"""A transformer on a bird's-eye grid: several cameras, ego history and route command to waypoints and occupancy.

Each cell of the ground is a learned query. It looks into the pictures where its column of points is projected to, and
weighs what it finds there by its content: attention over reference points that the rig's geometry gives, moved by
learned offsets. Since the rig is fixed, so are the places, and the graph samples at constants (GridSample, at most 4-D):
what a Hexagon tensor processor can run. Cells and ego history then attend to one another, and six waypoint queries to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from platform_lib.errors import ConfigError
from platform_lib.models.interface import COMMANDS, EGO_CHANNELS, EGO_STEPS, PLAN_STEPS
from platform_lib.models.model import Normalisation
from platform_lib.models.path_head import PathHead, multilayer
from platform_lib.models.rig import BevGrid, Rig, reference_points

UNSEEN = -30.0
"""What is added to the weight of a point that no camera sees: far below any other, and within what 16 bits hold."""
EGO_TOKENS = EGO_STEPS + 1


@dataclass(frozen=True, slots=True)
class BevConfig:
    """The shape of a network.

    Attributes:
        rig: The cameras; their pictures come stacked along the channels.
        grid: The ground.
        channels: Output channels of the backbone's stages, each of which halves the picture.
        blocks: Residual blocks behind each stage's first convolution.
        width: Of a token.
        heads: Of every attention.
        layers: Of the encoder on the grid.
        decoder_layers: In which waypoints attend to the grid.
        feedforward: Width of the hidden layer between attentions.
        points: Places that are looked up around each projected point, each moved by a learned offset.
        ego_hidden: Width of the ego encoder.
        hidden: Width of the ego head.
        dropout: Probability of dropping a value while training.

    Raises:
        ConfigError: The width is no multiple of the heads, or the backbone has no stage.
    """

    rig: Rig
    grid: BevGrid
    channels: tuple[int, ...]
    blocks: int
    width: int
    heads: int
    layers: int
    decoder_layers: int
    feedforward: int
    points: int
    ego_hidden: int
    hidden: int
    dropout: float

    def __post_init__(self) -> None:
        if self.width % self.heads or not self.channels or min(self.layers, self.decoder_layers, self.points) < 1:
            raise ConfigError(
                f"width {self.width} in {self.heads} heads, {self.layers} and {self.decoder_layers} layers, "
                f"{len(self.channels)} stages, {self.points} points",
                where="BevConfig",
                remedy="take a width that the heads divide, and at least one of everything",
            )

    @property
    def feature_size(self) -> tuple[int, int]:
        """Rows and columns of the backbone's last map."""
        rows, columns = self.rig.height_px, self.rig.width_px
        for _ in self.channels:
            rows, columns = -(-rows // 2), -(-columns // 2)
        return rows, columns


class BevNet(nn.Module):
    """Plan = constant-velocity path + spread * (head(ego) + waypoints(grid, ego)).

    Called with images (N, 3 C, H, W) in 0..1, ego history (N, 10, 3) in SI units and commands (N, 3) one-hot it gives
    waypoints (N, 6, 2) in metres; while training, occupancy logits (N, 6, X, Y) beside them.
    """

    def __init__(self, config: BevConfig, normalisation: Normalisation) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.path = PathHead(normalisation)
        self.backbone = _backbone(config)
        self.grid_queries = nn.Parameter(0.1 * torch.randn(1, len(config.grid), width))
        self.step_token = nn.Linear(EGO_CHANNELS, width)
        self.command_token = nn.Linear(len(COMMANDS), width)
        self.ego_places = nn.Parameter(0.1 * torch.randn(1, EGO_TOKENS, width))
        self.layers = nn.ModuleList(_GridLayer(config) for _ in range(config.layers))
        self.ego = nn.Sequential(nn.Linear(EGO_STEPS * EGO_CHANNELS + len(COMMANDS), config.ego_hidden), nn.ReLU())
        self.ego_head = multilayer((config.ego_hidden, config.hidden, config.hidden, PLAN_STEPS * 2), config.dropout)
        self.waypoint_start = nn.Linear(config.ego_hidden, width)
        self.waypoint_queries = nn.Parameter(0.1 * torch.randn(1, PLAN_STEPS, width))
        self.decoder = nn.ModuleList(_DecoderLayer(config) for _ in range(config.decoder_layers))
        self.waypoints = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2))
        self.occupancy = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, PLAN_STEPS))
        # Without a rare cell's bias the first thing learnt would be that nothing is anywhere.
        nn.init.constant_(cast("nn.Linear", self.occupancy[1]).bias, -3.0)

    def forward(self, image: Tensor, ego_history: Tensor, command: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Plan; see the class."""
        path, cells = self._plan(image, ego_history, command)
        return (path, self._occupied(cells)) if self.training else path

    def look(self, image: Tensor, ego_history: Tensor, command: Tensor) -> tuple[Tensor, Tensor]:
        """Return the plan (N, 6, 2) and the logits of a cell being taken (N, 6, X, Y), training or not."""
        path, cells = self._plan(image, ego_history, command)
        return path, self._occupied(cells)

    def _plan(self, image: Tensor, ego_history: Tensor, command: Tensor) -> tuple[Tensor, Tensor]:
        history = self.path.normalised(ego_history)
        ego = torch.cat([self.step_token(history), self.command_token(command)[:, None]], dim=1) + self.ego_places
        rig = self.config.rig
        features = self.backbone(image.reshape(-1, 3, rig.height_px, rig.width_px))
        cells = self.grid_queries
        for layer in self.layers:
            cells, ego = layer(cells, ego, features)
        known = self.ego(torch.cat([history.flatten(1), command], dim=1))
        waypoints = self.waypoint_queries + self.waypoint_start(known)[:, None]
        memory = torch.cat([cells, ego], dim=1)
        for layer in self.decoder:
            waypoints = layer(waypoints, memory)
        residual = self.ego_head(known) + self.waypoints(waypoints).flatten(1)
        return self.path(ego_history, residual), cells

    def _occupied(self, cells: Tensor) -> Tensor:
        return cast("Tensor", self.occupancy(cells).transpose(1, 2).unflatten(2, self.config.grid.cells))


class ImageAttention(nn.Module):
    """Each cell attends to what the pictures show where its points are projected to."""

    places: Tensor
    unseen: Tensor
    any_seen: Tensor
    pixel: Tensor

    def __init__(self, config: BevConfig) -> None:
        super().__init__()
        places, seen = reference_points(config.rig, config.grid)
        self._cameras, self._heads, self._each = len(config.rig), config.heads, config.width // config.heads
        self._number = len(config.grid)
        # One after the other a cell's points are: cameras, then heights, then places around each.
        around = np.repeat(places, config.points, axis=2)
        unseen = np.where(np.repeat(seen, config.points, axis=2), 0.0, UNSEEN).transpose(1, 0, 2)
        cells = len(config.grid)
        self._constant("places", around)
        self._constant("unseen", unseen.reshape(cells, 1, -1))
        self._constant("any_seen", (unseen.reshape(cells, -1) == 0).any(axis=1).reshape(1, cells, 1))
        rows, columns = config.feature_size
        spread = 1.0 if config.points > 1 else 0.0
        self.offsets = nn.Parameter(spread * torch.randn(around.shape[1:]))
        self._constant("pixel", np.array([2.0 / columns, 2.0 / rows]))
        self.query = nn.Linear(config.width, config.width)
        self.found = nn.Conv2d(config.channels[-1], 2 * config.width, 1)
        self.out = nn.Linear(config.width, config.width)

    def _constant(self, name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
        self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32), persistent=False)

    def forward(self, cells: Tensor, features: Tensor) -> Tensor:
        """Return what cells (N or 1, Q, D) find in features (N C, K, h, w): (N, Q, D)."""
        # Plain numbers, so that an exported graph holds no arithmetic on shapes.
        number, heads, each = self._number, self._heads, self._each
        grid = self.places + self.offsets * self.pixel
        samples = int(features.shape[0]) // self._cameras
        if samples > 1:
            grid = grid.repeat(samples, 1, 1, 1)
        found = nn.functional.grid_sample(self.found(features), grid.to(features.dtype), align_corners=False)
        found = found.permute(0, 2, 3, 1)  # (N C, Q, S, 2 D)
        if self._cameras > 1:
            found = found.reshape(samples, self._cameras, number, -1).permute(0, 2, 1, 3)
        found = found.reshape(samples * number, -1, 2 * heads, each).permute(0, 2, 1, 3)
        keys, values = found[:, :heads], found[:, heads:]  # (N Q, heads, S, D / heads)
        asked = self.query(cells) * each**-0.5
        if samples > 1 and cells.shape[0] == 1:
            asked = asked.expand(samples, -1, -1)
        weight = (asked.reshape(-1, heads, 1, each) * keys).sum(dim=-1)
        weight = torch.softmax(weight.reshape(samples, number, heads, -1) + self.unseen, dim=-1)
        weight = weight.reshape(samples * number, heads, -1, 1)
        gathered = (weight * values).sum(dim=2).reshape(samples, number, heads * each)
        return cast("Tensor", self.out(gathered * self.any_seen))


class Attention(nn.Module):
    """Tokens attend to tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads, self._each = heads, width // heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Return what tokens (N, T, D) find in a memory (N, M, D)."""
        asked, keys, values = (
            part(given).reshape(-1, int(given.shape[1]), self._heads, self._each).transpose(1, 2)
            for part, given in ((self.query, tokens), (self.key, memory), (self.value, memory))
        )
        found = nn.functional.scaled_dot_product_attention(asked, keys, values, scale=self._each**-0.5)
        found = found.transpose(1, 2).reshape(-1, int(tokens.shape[1]), self._heads * self._each)
        return cast("Tensor", self.out(found))


class _GridLayer(nn.Module):
    def __init__(self, config: BevConfig) -> None:
        super().__init__()
        width = config.width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.images = ImageAttention(config)
        self.tokens = Attention(width, config.heads)
        self.feedforward = multilayer((width, config.feedforward, width), config.dropout)
        self._cells = len(config.grid)

    def forward(self, cells: Tensor, ego: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        cells = cells + self.images(self.norms[0](cells), features)
        tokens = torch.cat([cells, ego], dim=1)
        normed = self.norms[1](tokens)
        tokens = tokens + self.tokens(normed, normed)
        tokens = tokens + self.feedforward(self.norms[2](tokens))
        return tokens[:, : self._cells], tokens[:, self._cells :]


class _DecoderLayer(nn.Module):
    def __init__(self, config: BevConfig) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(3))
        self.memory = Attention(config.width, config.heads)
        self.feedforward = multilayer((config.width, config.feedforward, config.width), config.dropout)

    def forward(self, waypoints: Tensor, memory: Tensor) -> Tensor:
        waypoints = waypoints + self.memory(self.norms[0](waypoints), self.norms[1](memory))
        return cast("Tensor", waypoints + self.feedforward(self.norms[2](waypoints)))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_convolution(channels, channels, 3, 1), *_convolution(channels, channels, 3, 1)[:2])

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.inner(features))


def _backbone(config: BevConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (wide_in, wide_out) in enumerate(pairwise((3, *config.channels))):
        layers += _convolution(wide_in, wide_out, 5 if number == 0 else 3, 2)
        layers += [_Residual(wide_out) for _ in range(config.blocks)]
    return nn.Sequential(*layers)


def _convolution(wide_in: int, wide_out: int, kernel: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(wide_in, wide_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(wide_out), nn.ReLU()]
