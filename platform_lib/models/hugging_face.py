"""Language backbones by configuration: a small one with random weights that needs no file, or one that lies on this machine.

Nothing is fetched: a name is looked up in a folder or in the local Hugging Face cache.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from torch import Tensor, nn

from platform_lib.errors import MissingPartError

_GPU_BUILD = "torchvision"
"""Comes with other packages, often as a build that a CPU torch cannot load."""
PADDING, END, UNKNOWN_WORD = "<pad>", "</s>", "<unk>"


@dataclass(frozen=True, slots=True)
class RandomBackbone:
    """A Llama of this shape with fresh weights, and a vocabulary of the words that the product itself uses.

    Attributes:
        layers: How many.
        width: Of a token.
        heads: Of attention; the width is a multiple.
        feedforward: Width of the hidden layer between attentions.
    """

    layers: int
    width: int
    heads: int
    feedforward: int


@dataclass(frozen=True, slots=True)
class NamedBackbone:
    """A pretrained causal language model with its own tokenizer.

    Attributes:
        name: A folder that `save_pretrained` wrote, or a model's name in the local cache.
        frozen: Whether its weights stay as they are; only the pieces around it learn then.
    """

    name: str
    frozen: bool = False


class Language:
    """A tokenizer: sentences to rows of token ids of one length, and back."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.end = int(tokenizer.eos_token_id)
        self.padding = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end)

    def ids(self, text: str) -> list[int]:
        """Return a sentence's token ids, without marks at its ends."""
        return [int(token) for token in self._tokenizer.encode(text, add_special_tokens=False)]

    def text(self, ids: Sequence[int]) -> str:
        """Return the sentence up to its end mark."""
        kept = list(ids)
        kept = kept[: kept.index(self.end)] if self.end in kept else kept
        return str(self._tokenizer.decode(kept, skip_special_tokens=True)).strip()


class Backbone(nn.Module):
    """A causal language model that takes embeddings, so that images and motion can stand among the words.

    Attributes:
        width: Of a token.
        words: How many tokens its vocabulary has.
    """

    def __init__(self, causal: Any) -> None:
        super().__init__()
        self.causal = causal
        self.width = int(causal.get_input_embeddings().weight.shape[1])
        self.words = int(causal.get_output_embeddings().weight.shape[0])

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings (..., D) of token ids (...)."""
        return cast("Tensor", self.causal.get_input_embeddings()(tokens))

    def forward(self, embeddings: Tensor, mask: Tensor, positions: Tensor, cache: object = None) -> Tensor:
        """Return hidden states (N, L, D).

        Args:
            embeddings: (N, L, D).
            mask: (N, 1, L, M) what is added to attention: 0, or a large negative number. With it the model makes no
                mask of its own, in ways that depend on the library's version and that no graph can hold.
            positions: (1, L).
            cache: What an earlier call left, and this one adds to; None without.
        """
        found = self.causal.base_model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=cache is not None,
        )
        return cast("Tensor", found.last_hidden_state)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return word logits (..., V) of hidden states (..., D)."""
        return cast("Tensor", self.causal.get_output_embeddings()(hidden))

    def flops_per_token(self) -> int:
        """Count the products of matrices that a token takes, without attention among tokens and without word logits."""
        tables = {
            id(module.weight) for module in (self.causal.get_input_embeddings(), self.causal.get_output_embeddings())
        }
        tables |= {id(module.weight) for module in self.causal.modules() if isinstance(module, nn.Embedding)}
        matrices = [weight for weight in self.causal.parameters() if weight.ndim == 2 and id(weight) not in tables]
        return 2 * sum(int(weight.numel()) for weight in matrices)

    @property
    def attention_shape(self) -> tuple[int, int]:
        """How many layers attend, and the width of all their heads together."""
        config = self.causal.config
        heads = int(config.num_attention_heads)
        each = getattr(config, "head_dim", None) or self.width // heads
        return int(config.num_hidden_layers), heads * int(each)


def backbone_of(config: RandomBackbone | NamedBackbone, sentences: Sequence[str]) -> tuple[Backbone, Language]:
    """Build or load a backbone with its tokenizer.

    Args:
        config: Which.
        sentences: What a vocabulary of one's own has to hold.

    Raises:
        MissingPartError: `transformers` is not installed, or the named model is not on this machine.
    """
    transformers = _transformers()
    if isinstance(config, RandomBackbone):
        return _random(transformers, config, sentences)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(config.name, local_files_only=True)
        causal = transformers.AutoModelForCausalLM.from_pretrained(config.name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise MissingPartError(
            f"no such language model on this machine ({str(error).splitlines()[0][:160]})",
            where=config.name,
            remedy="name a folder that `save_pretrained` wrote, or fetch the model into the Hugging Face cache first",
        ) from error
    causal.requires_grad_(not config.frozen)
    return Backbone(causal.float()), Language(tokenizer)


def empty_cache() -> object:
    """Return a cache for `Backbone.forward` that holds nothing yet."""
    return _transformers().DynamicCache()


def _random(transformers: Any, config: RandomBackbone, sentences: Sequence[str]) -> tuple[Backbone, Language]:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    words = [PADDING, END, UNKNOWN_WORD, *sorted({word for sentence in sentences for word in sentence.split()})]
    inner = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token=UNKNOWN_WORD))
    inner.pre_tokenizer = WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PADDING, eos_token=END, unk_token=UNKNOWN_WORD
    )
    causal = transformers.AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(
            vocab_size=len(words),
            hidden_size=config.width,
            intermediate_size=config.feedforward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
    )
    return Backbone(causal), Language(tokenizer)


def _transformers() -> Any:
    """Import the library. A torchvision that torch cannot load (one built for GPUs beside a CPU torch) is taken as absent."""
    if "transformers" not in sys.modules:
        try:
            import_module(_GPU_BUILD)
        except ImportError:
            pass
        except RuntimeError:
            for name in [name for name in sys.modules if name.partition(".")[0] == _GPU_BUILD]:
                del sys.modules[name]
            sys.modules[_GPU_BUILD] = None  # type: ignore[assignment]  # how Python spells "cannot be imported"
    try:
        import transformers
    except ImportError as error:
        raise MissingPartError(
            "the library `transformers` is not installed", where="vla", remedy="pip install 'drivetrain[train]'"
        ) from error
    return transformers
