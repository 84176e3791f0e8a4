"""A proposal: what would cost less, by how much, how surely, and the command that applies it. Strict; reads nothing itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Usd = Annotated[Decimal, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Saving(_Strict):
    """USD a month; None where it is not known.

    Attributes:
        low: At least, in nine of ten cases.
        expected: The mean.
        high: At most, in nine of ten cases.
    """

    low: _Usd | None = None
    expected: _Usd | None = None
    high: _Usd | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        return self


class Proposal(_Strict):
    """One proposal, made or refused.

    Attributes:
        title: What would be done.
        saves_usd: What it saves a month.
        certainty: How the range was found, in words.
        command: What applies it; None for a refused one.
        refused: Why it is not to be done, with the arithmetic; None where it is proposed.
    """

    title: str = Field(min_length=1)
    saves_usd: Saving
    certainty: str = Field(min_length=1)
    command: str | None = None
    refused: str | None = None

    @model_validator(mode="after")
    def _command_or_refusal(self) -> Self:
        if (self.command is None) is (self.refused is None):
            raise ValueError("a proposal has either a command that applies it, or why it is refused")
        return self


class ProposalFile(_Strict):
    """What a command of `drivetrain cost` proposes.

    Attributes:
        source: The command.
        proposals: What it proposes.
        prices: Where its prices are from and of which day; empty where it used none, or says it beside each proposal.
    """

    format: Literal["drivetrain-proposals/1"]
    source: str = Field(min_length=1)
    prices: tuple[str, ...] = ()
    proposals: tuple[Proposal, ...]


def ordered(files: tuple[ProposalFile, ...]) -> tuple[tuple[str, Proposal], ...]:
    """Return proposals with their source: the largest known saving first, then unknown ones, then refused ones."""
    known = [(file.source, item) for file in files for item in file.proposals]

    def key(pair: tuple[str, Proposal]) -> tuple[bool, bool, Decimal]:
        expected = pair[1].saves_usd.expected
        return pair[1].refused is not None, expected is None, -(expected or Decimal(0))

    return tuple(sorted(known, key=key))
