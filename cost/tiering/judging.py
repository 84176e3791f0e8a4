"""A cell's verdict: what to do, what it saves and how surely, and what is refused with its arithmetic. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from cost.amount import Amount, money
from cost.tiering.bill import arithmetic, bill
from cost.tiering.cells import newcomer
from cost.tiering.charges import Access
from cost.tiering.fees import Fees
from cost.tiering.hindsight import Hindsight, hindsight
from cost.tiering.model import BULK_HOURS, INTELLIGENT, MONTH_DAYS, RULES, Schedule, SizeClass, StorageClass
from cost.tiering.planner import Charges, cheapest, costs, fixed_rules
from cost.tiering.population import Group, quantities, tables
from cost.tiering.settings import PrefixSettings
from cost.tiering.trace import Trace, seen

LOOK_DAYS = 3650
"""Payback is looked for in so many days; what takes longer never pays."""
_DRAWS = 30
_LEAST_SHARE = 0.01
"""A rule that saves less than this share of what is paid is not proposed: prices and reads are not known so exactly."""
_MOMENTS = np.array([*range(30, 720, 30), *range(720, LOOK_DAYS + 1, 90)])


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """How objects are read, and how that is known.

    Attributes:
        access: By day of life, for `LOOK_DAYS` at least; None: it is not known.
        said: How it is known, in words.
        trace: What was watched, where it was.
    """

    access: Access | None
    said: str
    trace: Trace | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A cell as it is to be judged.

    Attributes:
        size_class: Of its objects.
        groups: All of them, and what will come.
        life_days: How old they get.
        evidence: How they are read.
        current: The rule that holds now.
        settings: What the owner says.
        held: Whether some are under legal hold.
        mean_gib: GiB of an object.
        to_come: How many of the objects are not there yet.
    """

    size_class: SizeClass
    groups: Sequence[Group]
    life_days: int
    evidence: Evidence
    current: Schedule
    settings: PrefixSettings
    held: bool
    mean_gib: float
    to_come: float

    @property
    def days(self) -> int:
        """How many days of life have to be told of."""
        return max(LOOK_DAYS, *(group.life_days for group in self.groups))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that is not to be written, and why, with the arithmetic."""

    rule: str
    because: str


@dataclass(frozen=True, slots=True)
class Saving:
    """USD a month; None where it is not known."""

    low: Decimal | None
    expected: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a cell.

    Attributes:
        schedule: The rule to have; that of now where nothing else pays.
        now: What is paid a month with the rule of now, all fees of the objects' lives spread over them.
        then: The same with `schedule`.
        saves: The difference.
        payback_days: After so many days more was saved than spent; None: nothing changes.
        arithmetic: Where the difference comes from, over all lives.
        certainty: How surely.
        refused: Rules that were looked at and do not pay, or may not be.
        baselines: USD a month of Intelligent-Tiering from the first day, and of the best plain rule with its name.
        hindsight: The rule on watched objects beside the offline optimum; None: none was watched long enough.
    """

    schedule: Schedule
    now: Amount
    then: Amount
    saves: Saving
    payback_days: int | None
    arithmetic: str
    certainty: str
    refused: tuple[Refusal, ...]
    baselines: dict[str, str]
    hindsight: Hindsight | None = None


def allowed_classes(case: Case, fees: Fees) -> tuple[StorageClass, ...]:
    """Return the classes that the data may lie in and whose fees are all known."""
    return tuple(name for name in StorageClass if not _barred(name, case, fees))


def _barred(name: StorageClass, case: Case, fees: Fees) -> str:
    """Return why a class is out of the question; empty: it is not."""
    settings = case.settings
    if name is StorageClass.ONEZONE_IA and not settings.one_zone:
        return "one zone alone would keep it: `one_zone` is not set"
    if name in BULK_HOURS and settings.wait_hours < BULK_HOURS[name]:
        return f"a reader would wait up to {BULK_HOURS[name]} h: `wait_hours` is {settings.wait_hours:g}"
    if name in BULK_HOURS and case.held:
        return "some of it is under legal hold, and must be at hand without a restore"
    read = case.evidence.access is None or case.evidence.access.read
    unknown = fees.unknown(name, read=read)
    return f"price not known: {', '.join(f's3: {item}' for item in unknown)}" if unknown else ""


def judge(case: Case, fees: Fees) -> Verdict:
    """Judge a cell: plan for it, hold the plan against what is now, and say what is refused."""
    access = case.evidence.access
    if access is None:
        return _unread(case, fees)
    charges = tables(access, small=case.size_class.small)
    allowed = allowed_classes(case, fees)
    best = cheapest(case.groups, charges, fees.usd, allowed).schedule
    now, then = (quantities(rule, case.groups, charges) for rule in (case.current, best))
    saved = costs(case.current, case.groups, charges, fees.usd) - costs(best, case.groups, charges, fees.usd)
    known = bill(now, fees).complete
    if known and saved < _LEAST_SHARE * float(bill(now, fees).usd):
        best, then = case.current, now
    monthly = monthly_factor(case.groups, case.to_come)
    change = best != case.current
    return Verdict(
        schedule=best,
        now=_scaled(bill(now, fees), monthly),
        then=_scaled(bill(then, fees), monthly),
        saves=_saving(case, access, best, fees, monthly) if change else Saving(Decimal(0), Decimal(0), Decimal(0)),
        payback_days=payback(best, case.current, case.groups, charges, fees) if change else None,
        arithmetic=arithmetic(then, now, fees) if change else "",
        certainty=case.evidence.said,
        refused=tuple(_refusals(case, best, charges, fees)),
        baselines=_baselines(case, charges, fees, allowed, monthly),
        hindsight=_hindsight(case, best, fees, allowed),
    )


def _hindsight(case: Case, best: Schedule, fees: Fees, allowed: Sequence[StorageClass]) -> Hindsight | None:
    if case.evidence.trace is None or any(step.to not in allowed for step in best.steps):
        return None
    return hindsight(case.evidence.trace, best, fees.usd, allowed)


def _unread(case: Case, fees: Fees) -> Verdict:
    """Judge a cell of which nobody knows how it is read: what reading costs is unknown, and so is every sum with it."""
    none = np.zeros(case.days)
    charges = tables(Access(none, none, none, none, none, none), small=case.size_class.small)
    stored = quantities(case.current, case.groups, charges)
    now = _scaled(bill(stored, fees), monthly_factor(case.groups, case.to_come)) + Amount.of(None)
    because = (
        "how it is read is not known, and each other class charges for reads or for idling that may not come: give logs"
    )
    return Verdict(
        case.current,
        now,
        now,
        Saving(None, None, None),
        None,
        "",
        case.evidence.said,
        (Refusal("any rule", because),),
        {},
    )


def monthly_factor(groups: Sequence[Group], to_come: float) -> Decimal:
    """Return by what a sum over all lives is multiplied to be one of a month and of the objects that are there now.

    Args:
        groups: The objects; those to come tell how objects live, and are in no bill of today.
        to_come: How many of them are not there yet.
    """
    lived = sum(float((group.objects * (group.life_days - group.ages)).sum()) for group in groups)
    there = sum(float(group.objects.sum()) for group in groups) - to_come
    return Decimal(repr(there / lived * MONTH_DAYS)) if lived else Decimal(0)


def _scaled(amount: Amount, factor: Decimal) -> Amount:
    return Amount(amount.usd * factor, amount.unknown, amount.known)


def _saving(case: Case, access: Access, best: Schedule, fees: Fees, monthly: Decimal) -> Saving:
    """Return what a rule saves, with the range that nine of ten draws of the watched objects give."""

    def saved(read: Access) -> float:
        charges = tables(read, small=case.size_class.small)
        there, here = (costs(rule, case.groups, charges, fees.usd) for rule in (best, case.current))
        return (here - there) * float(monthly)

    expected = saved(access)
    trace = case.evidence.trace
    if np.isnan(expected):
        return Saving(None, None, None)
    if trace is None:
        return Saving(None, _decimal(expected), None)
    random = np.random.default_rng(len(trace.born))
    draws = []
    for _ in range(_DRAWS):
        often = random.poisson(1.0, len(trace.born)).astype(np.float64) + 1e-9  # never no object at all
        draws.append(saved(seen(trace, case.days, often).access))
    low, high = np.quantile([*draws, expected], (0.05, 0.95))
    return Saving(_decimal(low), _decimal(expected), _decimal(high))


def _decimal(usd: float) -> Decimal:
    return Decimal(repr(float(usd))).quantize(Decimal("1e-6"))


def payback(rule: Schedule, now: Schedule, groups: Sequence[Group], charges: Charges, fees: Fees) -> int | None:
    """Return the day by which a rule has saved what it cost, counted from when it is written; None: within ten years never."""
    found = None
    for moment in _MOMENTS.tolist():
        there, here = (
            sum(amount * fees.usd(item) for (item, _), amount in quantities(each, groups, charges, moment).items())
            for each in (rule, now)
        )
        if there > here + 1e-12:
            found = None
        elif found is None and there < here - 1e-12:
            found = moment
    return found


def _refusals(case: Case, best: Schedule, charges: Charges, fees: Fees) -> Iterator[Refusal]:
    chosen = {step.to for step in best.steps}
    here = costs(case.current, case.groups, charges, fees.usd)
    for name in StorageClass:
        if (
            name is StorageClass.STANDARD
            or name in chosen
            or (name is StorageClass.ONEZONE_IA and not case.settings.one_zone)
        ):
            continue
        rules = [INTELLIGENT] if name is StorageClass.INTELLIGENT_TIERING else _rules_to(name, case.life_days)
        if not rules:
            yield Refusal(RULES[name].title, f"objects live {case.life_days} days, and it begins later")
            continue
        rule = min(rules, key=lambda each: _or_endless(costs(each, case.groups, charges, fees.usd)))
        if barred := _barred(name, case, fees):
            yield Refusal(
                RULES[name].title, barred + _break_even(rule, case, charges, fees) + _forgone(rule, best, case, fees)
            )
        elif not costs(rule, case.groups, charges, fees.usd) < here:
            yield Refusal(str(rule), _why(rule, case, charges, fees))


def _or_endless(usd: float) -> float:
    return float("inf") if np.isnan(usd) else usd


def _rules_to(name: StorageClass, life_days: int) -> list[Schedule]:
    return [rule for rule in fixed_rules([name]) if rule.steps and rule.steps[0].day < life_days]


def _forgone(rule: Schedule, best: Schedule, case: Case, fees: Fees) -> str:
    """Return what a class would save more that only the owner's settings bar; empty where it would not."""
    name = rule.steps[0].to
    if case.held or name not in BULK_HOURS or case.evidence.access is None:
        return ""
    charges = tables(case.evidence.access, small=case.size_class.small)
    there, here = (costs(each, case.groups, charges, fees.usd) for each in (rule, best))
    more = (here - there) * float(monthly_factor(case.groups, case.to_come))
    if np.isnan(more) or more <= 0:
        return "; it would not save more either"
    return f"; {rule} would save {money(_decimal(more))} a month more"


def _why(rule: Schedule, case: Case, charges: Charges, fees: Fees) -> str:
    """Return the arithmetic of a rule that costs more than it saves."""
    there, here = (quantities(each, case.groups, charges) for each in (rule, case.current))
    text = f"over {case.life_days} days of life: {arithmetic(there, here, fees)}"
    one = [newcomer(case.mean_gib, LOOK_DAYS)]
    after = payback(rule, case.current, one, charges, fees)
    if after is None:
        return f"{text}; it never pays back"
    return f"{text}; a new object pays back after {after / MONTH_DAYS:.1f} months, and lives {case.life_days / MONTH_DAYS:.1f}"


def _break_even(rule: Schedule, case: Case, charges: Charges, fees: Fees) -> str:
    """Return at which price a class would pay whose move into it has no known price; empty where that is not the reason."""
    step = rule.steps[0].to
    read = case.evidence.access is None or case.evidence.access.read
    if fees.unknown(step, read=read) != (f"{RULES[step].title} transition",):
        return ""
    there, here = (quantities(each, case.groups, charges) for each in (rule, case.current))
    moves = sum(amount for (item, _), amount in there.items() if item not in fees.prices)
    rest = bill(here, fees).usd - bill(there, fees).usd
    if rest <= 0 or not moves:
        return "; it would not pay at any price of the move"
    return f"; {rule} pays if a move costs less than {money(rest / Decimal(repr(moves)))} per 1,000"


def _baselines(
    case: Case, charges: Charges, fees: Fees, allowed: Sequence[StorageClass], monthly: Decimal
) -> dict[str, str]:
    found = {}
    if StorageClass.INTELLIGENT_TIERING in allowed:
        amount = bill(quantities(INTELLIGENT, case.groups, charges), fees)
        found["intelligent_tiering"] = str(_scaled(amount, monthly))
    rules = fixed_rules(allowed)
    plain = min(rules, key=lambda each: costs(each, case.groups, charges, fees.usd))
    found["best_plain_rule"] = str(plain)
    found["best_plain_rule_monthly"] = str(_scaled(bill(quantities(plain, case.groups, charges), fees), monthly))
    return found
