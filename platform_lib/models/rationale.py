"""What the vision-language-action model is asked and what it is trained to say.

The labels come from what the dataset knows and no person wrote: the action from the path that was driven afterwards, the
cause and the weather from the sample's slices, which on simulated drives are ground truth and look three seconds ahead.
They say what went with the action, not what brought it about.
"""

from __future__ import annotations

import torch
from torch import Tensor

from platform_lib.models.interface import COMMANDS, PLAN_STEP_S
from platform_lib.models.tags import EVENTS, TAGS, WEATHERS

ROUTES = ("follow the lane .", "change to the left lane .", "change to the right lane .")
"""The route command in words, by its index."""
QUESTIONS = ("what do you do and why ?", "what is ahead ?", "what is the weather ?")
WHY, AHEAD, WEATHER = range(3)

ACTIONS = ("keep the speed", "slow down", "speed up", "stop", "wait")
CAUSES = ("a red light", "a pedestrian", "a vehicle that cuts in", "a vehicle in the lane", "a free road")
"""By `EVENTS`: of several the first."""
UNKNOWN = "unknown"

ANSWERS = (
    *(f"{action} for {cause}" for action in ACTIONS for cause in (*CAUSES, UNKNOWN)),
    *CAUSES,
    UNKNOWN,
    *WEATHERS,
    UNKNOWN,
)
"""Everything that is ever said: answers to the first question, to the second, to the third."""
_AHEAD_FROM = len(ACTIONS) * (len(CAUSES) + 1)
_WEATHER_FROM = _AHEAD_FROM + len(CAUSES) + 1

STANDING_MPS = 0.5
CHANGE_MPS = 1.5
"""Slower or faster by this after three seconds is slowing down or speeding up."""


def prompts() -> tuple[str, ...]:
    """Return every route with every question, questions varying fastest."""
    return tuple(f"{route} {question}" for route in ROUTES for question in QUESTIONS)


def sentences() -> tuple[str, ...]:
    """Return everything that is asked or said: the words a vocabulary of one's own has to hold."""
    return (*prompts(), *ANSWERS)


def prompt_rows(command: Tensor, question: Tensor) -> Tensor:
    """Return places in `prompts` (N,) of one-hot commands (N, 3) and questions (N,)."""
    return command.argmax(dim=1) * len(QUESTIONS) + question


def action_rows(ego_history: Tensor, future_m: Tensor) -> Tensor:
    """Return places in `ACTIONS` (N,): what was driven, from history (N, 10, 3) and path (N, 6, 2)."""
    now = ego_history[:, -1, 0]
    then = (future_m[:, -1] - future_m[:, -2]).norm(dim=1) / PLAN_STEP_S
    action = torch.zeros(len(now), dtype=torch.long, device=now.device)
    action[then < now - CHANGE_MPS] = ACTIONS.index("slow down")
    action[then > now + CHANGE_MPS] = ACTIONS.index("speed up")
    action[then < STANDING_MPS] = ACTIONS.index("stop")
    action[(then < STANDING_MPS) & (now < STANDING_MPS)] = ACTIONS.index("wait")
    return action


def answer_rows(ego_history: Tensor, future_m: Tensor, tags: Tensor, question: Tensor) -> Tensor:
    """Return places in `ANSWERS` (N,).

    Args:
        ego_history: (N, 10, 3).
        future_m: (N, 6, 2).
        tags: (N, 8); see `TAGS`. A sample without any is answered with "unknown".
        question: (N,) places in `QUESTIONS`.
    """
    cause = _first(tags[:, TAGS.index(EVENTS[0]) :])
    weather = _first(tags[:, : len(WEATHERS)])
    why = action_rows(ego_history, future_m) * (len(CAUSES) + 1) + cause
    return torch.where(
        question == WHY, why, torch.where(question == AHEAD, _AHEAD_FROM + cause, _WEATHER_FROM + weather)
    )


def _first(columns: Tensor) -> Tensor:
    """Return the first column that is 1 (N,), or how many columns there are."""
    whole = torch.cat([columns, torch.ones_like(columns[:, :1])], dim=1)
    return whole.to(torch.int32).argmax(dim=1)


assert len(ROUTES) == len(COMMANDS)  # noqa: S101 - a command without words would be spoken as another
