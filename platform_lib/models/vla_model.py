"""The vision-language-action model in training: tokens of the driven path, and sentences that the dataset's words give."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from platform_lib.errors import ConfigError
from platform_lib.models import rationale
from platform_lib.models.augmentation import Batch
from platform_lib.models.flops import attention_flops, convolution_flops, linear_flops
from platform_lib.models.interface import EGO_CHANNELS, EGO_STEPS, IMAGE_HEIGHT, IMAGE_WIDTH
from platform_lib.models.losses import bin_loss, text_loss
from platform_lib.models.model import Model, Normalisation, Plan
from platform_lib.models.trajectory_tokens import TOKENS
from platform_lib.models.vla import VlaConfig, VlaNet

_IGNORED = -100


class VlaModel(Model):
    """Cross entropy of every token but the prompt's; each sample is asked one of the questions, drawn anew each time."""

    columns = ("slices",)

    def __init__(self, config: VlaConfig, normalisation: Normalisation) -> None:
        self._config = config
        self.network: VlaNet = VlaNet(config, normalisation)
        self._answers = _answers(self.network, config.answer_words)
        # Two engines may differ in the last bit of two equal logits, and so by a bin; and in the tokens after it.
        self.export_tolerance_m = 4.0 * max(max(row) for row in config.trajectory.error_bound_m(normalisation))

    def forward(self, batch: Batch, network: nn.Module | None = None) -> Plan:
        """Plan; while training every token from the right ones before it, and which words would have been right."""
        called = self.network if network is None else network
        if not self.network.training or batch.tags is None:
            return Plan(called(batch.image, batch.ego_history, batch.command))
        question = torch.randint(len(rationale.QUESTIONS), (len(batch.command),)).to(batch.command.device)
        row = rationale.answer_rows(batch.ego_history, batch.future_m, batch.tags, question)
        words = self._answers.to(row.device)[row]
        read = words.masked_fill(words == _IGNORED, self.network.language.padding)
        tokens, text = called(batch.image, batch.ego_history, batch.command, question, self._tokens(batch), read)
        chosen = tokens[..., self.network.backbone.words :].detach().argmax(dim=-1)
        residual = self._config.trajectory.decode(chosen)
        waypoints = self.network.path(batch.ego_history, residual)
        return Plan(waypoints, token_logits=tokens, text_logits=text, text_targets=words)

    def loss(self, plan: Plan, batch: Batch) -> Tensor:
        """Return the cross entropy of the path's tokens, and of the answer's where there is one.

        Raises:
            ConfigError: The plan has no logits: it was decoded, not predicted.
        """
        if plan.token_logits is None:
            raise ConfigError(
                "a decoded plan has no loss", where="VlaModel", remedy="call forward while training, with tags"
            )
        config = self._config
        loss = bin_loss(
            plan.token_logits,
            self._tokens(batch),
            first=self.network.backbone.words,
            count=config.trajectory.bins,
            spread_bins=config.token_spread_bins,
        )
        if plan.text_logits is None or plan.text_targets is None:
            return loss
        return loss + config.text_weight * text_loss(plan.text_logits, plan.text_targets, ignored=_IGNORED)

    def _tokens(self, batch: Batch) -> Tensor:
        return self._config.trajectory.encode(self.network.path.residual(batch.ego_history, batch.future_m))

    @property
    def flops_per_sample(self) -> int:
        """Floating-point operations of one pass over all tokens, as in training; decoding reads token by token."""
        net, config = self.network, self._config
        rows, columns, total = IMAGE_HEIGHT, IMAGE_WIDTH, 0
        for number, (wide_in, wide_out) in enumerate(pairwise((3, *config.channels))):
            rows, columns = -(-rows // 2), -(-columns // 2)
            total += convolution_flops(wide_in, wide_out, 5 if number == 0 else 3, rows * columns)
        width = net.backbone.width
        total += convolution_flops(config.channels[-1], width, 1, rows * columns)
        total += linear_flops([EGO_CHANNELS, width], EGO_STEPS)
        length = net.prefix + TOKENS + config.answer_words - 1
        layers, heads_width = net.backbone.attention_shape
        total += length * net.backbone.flops_per_token() + layers * attention_flops(length, length, heads_width)
        predicted = TOKENS + config.answer_words
        return total + linear_flops([width, net.backbone.words + config.trajectory.bins], predicted)


def _answers(net: VlaNet, longest: int) -> Tensor:
    """Return (K, R) token ids of every answer with its end mark, and what is ignored behind it."""
    rows = [[*net.language.ids(answer), net.language.end] for answer in rationale.ANSWERS]
    needed = max(map(len, rows))
    if needed > longest:
        raise ConfigError(
            f"an answer takes {needed} tokens of this tokenizer, {longest} are allowed",
            where="VlaConfig.answer_words",
            remedy=f"take {needed} or more",
        )
    return torch.tensor([row + [_IGNORED] * (longest - len(row)) for row in rows])
