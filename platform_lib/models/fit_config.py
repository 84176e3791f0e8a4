"""How a model is fitted and when its states are saved; values that cannot be are refused where they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from platform_lib.models.augmentation import Augmentation
from platform_lib.models.wrong_values import number, one_of, refuse_wrong, whole

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How long and how fast to fit.

    Attributes:
        epochs: Passes over the training split.
        batch: Samples of one step, over all processes and all parts of the step.
        learning_rate: Peak of a one-cycle schedule (linear warm-up, cosine to zero).
        weight_decay: AdamW's.
        warmup_share: Share of all steps that warm up.
        seed: Seeds weights, order, dropout and augmentation.
        threads: Threads of torch; part of the result's identity, since sums are split over them.
        augmentation: How training frames are changed.
        accumulate: A step's samples go through the network in so many parts, for networks whose activations are large.
        precision: ``bf16`` computes in bfloat16 where torch deems it safe; weights and optimiser stay in float32.
        compiled: Whether torch.compile makes the network's kernels: up to minutes at the start, and each start again;
            it pays on GPUs and not for small networks on CPUs.

    Raises:
        ConfigError: A value cannot be.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    seed: int
    threads: int
    augmentation: Augmentation
    accumulate: int = 1
    precision: Precision = "fp32"
    compiled: bool = False

    def __post_init__(self) -> None:
        refuse_wrong(
            "FitConfig",
            {
                "epochs": whole(self.epochs, least=1),
                "batch": whole(self.batch, least=1),
                "learning_rate": number(self.learning_rate, above=0.0),
                "weight_decay": number(self.weight_decay, least=0.0),
                "warmup_share": number(self.warmup_share, least=0.0, most=1.0),
                "seed": whole(self.seed, least=0),
                "threads": whole(self.threads, least=1),
                "accumulate": whole(self.accumulate, least=1),
                "precision": one_of(self.precision, get_args(Precision)),
                "compiled": one_of(self.compiled, (True, False)),
            },
        )


@dataclass(frozen=True, slots=True)
class SaveRules:
    """When a state is saved; it has no say in the result.

    Attributes:
        every_s: A state is saved once so long has passed since the last one; a kill costs no more than that.
        every_steps: The same, counted in steps.
        each_epoch: Whether each epoch's end is saved besides.
    """

    every_s: float = 30.0
    every_steps: int | None = None
    each_epoch: bool = True
