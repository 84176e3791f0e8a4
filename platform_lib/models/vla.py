"""A vision-language-action network: pictures, motion and words go in, a path comes out as tokens, and then a sentence.

The sequence is: picture tokens, one token for each step of ego history, the route and a question in words, twelve
trajectory tokens, the answer. Every token is predicted from those before it, so the sentence comes after the path and
tells of it; the path does not depend on the sentence. Decoding is greedy, and where a trajectory token is due only
trajectory tokens can be chosen, where a word is due only words.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from platform_lib.errors import ConfigError
from platform_lib.models import rationale
from platform_lib.models.hugging_face import Language, NamedBackbone, RandomBackbone, backbone_of, empty_cache
from platform_lib.models.interface import EGO_CHANNELS, EGO_STEPS, IMAGE_HEIGHT, IMAGE_WIDTH
from platform_lib.models.model import Normalisation
from platform_lib.models.path_head import PathHead
from platform_lib.models.trajectory_tokens import TOKENS, TrajectoryTokens

HIDDEN = -1e4
"""What is added to the attention on tokens that come later: nothing is left of them, in float16 too."""


@dataclass(frozen=True, slots=True)
class VlaConfig:
    """The shape of a network.

    Attributes:
        backbone: The language model.
        channels: Output channels of the image stages, each of which halves the picture; the last map's pixels are tokens.
        trajectory: The path's tokens.
        answer_words: Longest answer in tokens, its end mark included.
        token_spread_bins: Standard deviation of a trajectory token's target, in bins; see `bin_loss`.
        text_weight: What the sentence's loss counts beside the path's.

    Raises:
        ConfigError: There is no image stage, or no room for an answer.
    """

    backbone: RandomBackbone | NamedBackbone
    channels: tuple[int, ...]
    trajectory: TrajectoryTokens
    answer_words: int = 10
    token_spread_bins: float = 1.5
    text_weight: float = 0.3

    def __post_init__(self) -> None:
        if not self.channels or self.answer_words < 1:
            raise ConfigError(f"{len(self.channels)} image stages, {self.answer_words} words", where="VlaConfig")

    @property
    def picture_size(self) -> tuple[int, int]:
        """Rows and columns of picture tokens."""
        rows, columns = IMAGE_HEIGHT, IMAGE_WIDTH
        for _ in self.channels:
            rows, columns = -(-rows // 2), -(-columns // 2)
        return rows, columns


class VlaNet(nn.Module):
    """Called with an image, ego history and command it decodes a plan (N, 6, 2); with labels it gives logits.

    Attributes:
        language: Its tokenizer.
        prompt_ids: (9, P) every route with every question, padded in front.
    """

    prompt_ids: Tensor
    prompt_padding: Tensor
    later: Tensor
    positions: Tensor

    def __init__(self, config: VlaConfig, normalisation: Normalisation) -> None:
        super().__init__()
        self.config = config
        self.path = PathHead(normalisation)
        self.backbone, self.language = backbone_of(config.backbone, rationale.sentences())
        width = self.backbone.width
        self.picture = _picture(config, width)
        rows, columns = config.picture_size
        self.picture_places = nn.Parameter(0.1 * torch.randn(1, rows * columns, width))
        self.step_token = nn.Linear(EGO_CHANNELS, width)
        self.step_places = nn.Parameter(0.1 * torch.randn(1, EGO_STEPS, width))
        # Neighbouring bins begin as neighbours.
        line = torch.linspace(0, 3.14159, config.trajectory.bins)[:, None]
        self.bins = nn.Embedding(config.trajectory.bins, width)
        self.bins.weight.data.copy_(0.1 * torch.cos(line * torch.arange(1, width + 1)))
        self.bin_logits = nn.Linear(width, config.trajectory.bins)
        ids, padding = padded(self.language, rationale.prompts())
        self.register_buffer("prompt_ids", ids, persistent=False)
        self.prompt_words = ids.shape[1]
        longest = self.prefix + TOKENS + config.answer_words
        # What is added to attention on the prompt's padding, with room for the tokens that follow.
        hidden = torch.cat([torch.zeros(len(ids), self.prefix - ids.shape[1]), padding * HIDDEN], dim=1)
        hidden = nn.functional.pad(hidden, (0, longest - self.prefix))
        self.register_buffer("prompt_padding", hidden, persistent=False)
        self.register_buffer("later", torch.triu(torch.full((longest, longest), HIDDEN), 1), persistent=False)
        self.register_buffer("positions", torch.arange(longest)[None], persistent=False)

    @property
    def prefix(self) -> int:
        """How many tokens stand before the trajectory."""
        rows, columns = self.config.picture_size
        return rows * columns + EGO_STEPS + self.prompt_words

    def forward(
        self,
        image: Tensor,
        ego_history: Tensor,
        command: Tensor,
        question: Tensor | None = None,
        tokens: Tensor | None = None,
        words: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Plan, or predict each label from those before it.

        Args:
            image: (N, 3, 64, 192) in 0..1.
            ego_history: (N, 10, 3) in SI units.
            command: (N, 3) one-hot.
            question: (N,) places in `rationale.QUESTIONS`; with it come the labels.
            tokens: (N, 12) bins that were driven.
            words: (N, R) the answer's token ids.

        Returns:
            (N, 6, 2) metres; or logits (N, 12, V + bins) and (N, R, V + bins), words first.
        """
        if question is None or tokens is None or words is None:
            asked = torch.zeros(len(command), dtype=torch.long, device=command.device)
            residual = self.config.trajectory.decode(self.decode(image, ego_history, command, asked))
            return cast("Tensor", self.path(ego_history, residual))
        before, hidden = self._prefix(image, ego_history, command, question)
        whole = torch.cat([before, self.bins(tokens), self.backbone.embed(words[:, :-1])], dim=1)
        length = self.prefix + TOKENS + words.shape[1] - 1
        states = self.backbone(whole, self.mask(hidden, 0, length), self.positions[:, :length])
        states = states[:, self.prefix - 1 :]
        logits = torch.cat([self.backbone.logits(states), self.bin_logits(states)], dim=-1)
        return logits[:, :TOKENS], logits[:, TOKENS:]

    def decode(self, image: Tensor, ego_history: Tensor, command: Tensor, question: Tensor) -> Tensor:
        """Return the likeliest bin of each trajectory token in turn (N, 12); nothing but bins can be chosen."""
        before, hidden = self._prefix(image, ego_history, command, question)
        tokens, _, _ = self._bins(before, hidden)
        return tokens

    def speak(self, image: Tensor, ego_history: Tensor, command: Tensor, question: Tensor) -> tuple[Tensor, list[str]]:
        """Return the plan (N, 6, 2) and an answer a sample; `question` are places in `rationale.QUESTIONS` (N,)."""
        before, hidden = self._prefix(image, ego_history, command, question)
        tokens, state, run = self._bins(before, hidden)
        plan = self.path(ego_history, self.config.trajectory.decode(tokens))
        said = []
        for number in range(self.config.answer_words):
            chosen = self.backbone.logits(state).argmax(dim=-1)
            said.append(chosen)
            if number + 1 < self.config.answer_words:
                state = run(self.backbone.embed(chosen)[:, None])
        return plan, [self.language.text(row) for row in torch.stack(said, dim=1).tolist()]

    def _bins(self, before: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, _Run]:
        """Decode the trajectory; return its bins, the state after the last of them, and what goes on from there."""
        run = _Run(self, before, hidden)
        state, chosen = run.state, []
        for _ in range(TOKENS):
            chosen.append(self.bin_logits(state).argmax(dim=-1))
            state = run(self.bins(chosen[-1])[:, None])
        return torch.stack(chosen, dim=1), state, run

    def _prefix(self, image: Tensor, ego_history: Tensor, command: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings (N, P, D) before the trajectory, and what is added to attention on each token (N, L)."""
        seen = self.picture(image).flatten(2).transpose(1, 2) + self.picture_places
        moved = self.step_token(self.path.normalised(ego_history)) + self.step_places
        row = rationale.prompt_rows(command, question)
        embeddings = torch.cat([seen, moved, self.backbone.embed(self.prompt_ids[row])], dim=1)
        return embeddings, self.prompt_padding[row]

    def mask(self, hidden: Tensor, start: int, stop: int) -> Tensor:
        """Return what is added to attention of tokens [start, stop) on those before `stop`, (N, 1, stop - start, stop)."""
        return (self.later[None, start:stop, :stop] + hidden[:, None, :stop]).clamp(min=HIDDEN)[:, None]


class _Run:
    """A sequence that grows token by token; `state` (N, D) is the last token's.

    It keeps keys and values of what was read. An exported graph cannot: there each step reads the whole sequence again.
    """

    def __init__(self, net: VlaNet, before: Tensor, hidden: Tensor) -> None:
        self._net, self._hidden, self._whole, self._length = net, hidden, before, net.prefix
        self._cache = None if torch.onnx.is_in_onnx_export() else empty_cache()
        self.state = self._read(before, 0)

    def __call__(self, embedding: Tensor) -> Tensor:
        """Read one more token (N, 1, D); return its state (N, D)."""
        self._length += 1
        if self._cache is not None:
            self.state = self._read(embedding, self._length - 1)
        else:
            self._whole = torch.cat([self._whole, embedding], dim=1)
            self.state = self._read(self._whole, 0)
        return self.state

    def _read(self, embeddings: Tensor, start: int) -> Tensor:
        mask = self._net.mask(self._hidden, start, self._length)
        states = self._net.backbone(embeddings, mask, self._net.positions[:, start : self._length], self._cache)
        return cast("Tensor", states[:, -1])


def padded(language: Language, sentences: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Return token ids (K, P) of sentences, padded in front, and where the padding is (K, P), 0 or 1."""
    rows = [language.ids(sentence) for sentence in sentences]
    length = max(map(len, rows))
    ids = torch.tensor([[language.padding] * (length - len(row)) + row for row in rows])
    padding = torch.tensor([[1.0] * (length - len(row)) + [0.0] * len(row) for row in rows])
    return ids, padding


def _picture(config: VlaConfig, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (wide_in, wide_out) in enumerate(pairwise((3, *config.channels))):
        kernel = 5 if number == 0 else 3
        layers += [
            nn.Conv2d(wide_in, wide_out, kernel, stride=2, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(wide_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(config.channels[-1], width, 1))
