"""Spot under a deadline: which pool now, when to switch, when on-demand; what it will cost, and how surely.

`fit` a history, `simulate` the policy on a trace, and compare with `omniscient`, which knows the trace in advance.
"""

from cost.spot.model import IDLE, Action, Job, Outcome, Policy, Pool, Trace, View
from cost.spot.optimum import omniscient
from cost.spot.planner import SurvivalPolicy, fit
from cost.spot.rules import Greedy, UniformProgress
from cost.spot.simulator import simulate
from cost.spot.traces import load_traces

__all__ = [
    "IDLE",
    "Action",
    "Greedy",
    "Job",
    "Outcome",
    "Policy",
    "Pool",
    "SurvivalPolicy",
    "Trace",
    "UniformProgress",
    "View",
    "fit",
    "load_traces",
    "omniscient",
    "simulate",
]
