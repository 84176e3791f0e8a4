"""Gates of the data: personal data, contracts, and that the splits share nothing (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from edge_compile.gate_case import Case, Verdict, left_open, passes
from platform_lib.contracts.evidence import ContractEvidence
from platform_lib.datasets.proof import SplitProof
from platform_lib.datasets.splits import PAIRS, Split
from platform_lib.handoff.thresholds import Splits

_SPLIT_PAIRS = tuple(f"{one}/{other}" for one, other in PAIRS)


def judge_pii(case: Case) -> list[Verdict]:
    """G0 PII: no sample shows an identifiable person."""
    states, proof = case.facts.pii_states, case.facts.proof
    if not states or proof is None:
        return left_open("the dataset's manifest counts no pii_state")
    said = "samples by pii_state: " + ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
    if not states.keys() <= {"none_present", "blurred"}:
        return [Verdict("fail", said)]
    uncounted = [split for split, n in proof.samples.items() if sum(proof.pii_states.get(split, {}).values()) != n]
    if uncounted or any(count < 0 for of in proof.pii_states.values() for count in of.values()):
        return [Verdict("fail", f"{said}; but {sum(proof.samples.values())} samples in all")]
    if states.get("blurred"):
        return _judge_blur(case, said)
    return left_open("the dataset has no samples") if not sum(states.values()) else [Verdict("pass", said)]


def _judge_blur(case: Case, said: str) -> list[Verdict]:
    """Judge the blur of the samples by the recall that the dataset's manifest carries for it."""
    recall, asked = case.facts.blur_recall, case.thresholds.privacy
    if recall is None:
        return left_open(f"{said}; the recall of the blur was not measured")
    if case.facts.blur_configs != {recall.config_sha256}:
        return left_open(f"{said}; the recall measured is of another blur configuration")
    where = f"{recall.labels_name} {recall.labels_version} ({recall.labels_sha256[:12]})"
    if asked is None:
        return left_open(f"{said}; no recall is written as threshold, measured on {where}")
    found = []
    for kind, least in asked.min_blur_recall.items():
        item = recall.kinds.get(kind)
        if item is None:
            found.append(Verdict("not_run", f"{said}; {kind}: no box is labelled in {where}"))
            continue
        told = f"{kind}: {item.blurred} of {item.labelled} blurred on {where}, at least {item.lower_bound:.3f}, limit {least:g}"
        if item.lower_bound >= least and recall.composed:
            found.append(Verdict("not_run", f"{told}; but its pictures are composed, not recorded"))
        else:
            found.append(passes(item.lower_bound >= least, told))
    return found


def judge_contract(case: Case) -> list[Verdict]:
    """G0 contract: the dataset meets its data contract."""
    found, proof = case.facts.contracts, case.facts.proof
    if found is None or proof is None:
        return left_open("the dataset's manifest carries no evidence of data contracts that can be read")
    verdicts = []
    for item in found.contracts:
        said = (
            f"{item.contract_id} {item.version} ({item.sha256[:12]}), {item.rules} rules on {_subjects(item)}: "
            f"{item.errors} errors, {item.warnings} warnings"
        )
        if item.errors:
            verdicts.append(Verdict("fail", said))
        elif item.not_run or not item.rules:
            verdicts.append(Verdict("not_run", f"{said}, {item.not_run} rules found nothing to measure"))
        else:
            verdicts.append(Verdict("pass", said))
    levels = {item.level for item in found.contracts}
    lacking = [f"no contract on {what}" for what in ("file", "lake", "dataset") if what not in levels]
    drives = sum(len(of) for of in proof.drives.values())
    if found.drives != drives:
        lacking.append(f"contracts were held against {found.drives} drives, and the dataset has {drives}")
    if found.uncovered:
        lacking.append(f"{len(found.uncovered)} drives lack files under contract, {found.uncovered[0]} the first")
    return [*verdicts, *(Verdict("not_run", text) for text in lacking)]


def _subjects(item: ContractEvidence) -> str:
    return f"{item.subjects} files" if item.level == "file" else f"the {item.level}"


def judge_drives(case: Case) -> list[Verdict]:
    """G1 drives: no drive is in two splits."""
    proof = case.facts.proof
    if proof is None:
        return left_open("the dataset's manifest carries no split proof that can be read")
    members = {split: set(drives) for split, drives in proof.drives.items()}
    said = "drives by split: " + ", ".join(f"{split} {len(drives)}" for split, drives in sorted(members.items()))
    empty = [split for split in ("train", "val", "test") if not proof.drives.get(split)]
    shared = {drive for one, other in combinations(members, 2) for drive in members[one] & members[other]}
    files = {split: {file for held in of.values() for file in held} for split, of in proof.files.items()}
    shared |= {file for one, other in combinations(files, 2) for file in files[one] & files[other]}
    counted = {**proof.shared_drives, **proof.shared_content}
    if shared or any(count != 0 for count in counted.values()):
        return [Verdict("fail", f"{said}; in two splits: {', '.join(sorted(shared)[:5]) or counted}")]
    if empty:
        return left_open(f"{said}; {', '.join(empty)} is empty")
    unlisted = [d for split, of in members.items() for d in sorted(of) if not proof.files.get(split, {}).get(d)]
    if unlisted:
        return left_open(f"{said}; no log file of {unlisted[0]} is listed")
    if len(proof.shared_content) < len(list(combinations(members, 2))):
        return left_open(f"{said}; images were not compared between every two splits")
    return [Verdict("pass", f"{said}; no drive, log file or image is in two")]


def judge_near_duplicates(case: Case) -> list[Verdict]:
    """G1 near-duplicates: no two frames of two splits look the same."""
    found = None if case.facts.proof is None else case.facts.proof.near_duplicates
    if case.facts.proof is None or found is None:
        return left_open("no search for near-duplicate frames across splits was run")
    asked = case.thresholds.splits
    frames = ", ".join(f"{split} {count}" for split, count in found.compared.items())
    nearest = min((bits for bits in found.nearest_bits.values() if bits is not None), default=None)
    said = f"{found.method}, up to {found.max_bits} of them different; frames compared: {frames}" + (
        "" if nearest is None else f"; the nearest two differ in {nearest}"
    )
    verdicts = [_nowhere(found.across, said)]
    if found.max_bits < asked.near_duplicate_bits:
        verdicts += left_open(f"searched for {found.max_bits} bits, {asked.near_duplicate_bits} are asked")
    return verdicts + _known_share(case.facts.proof, found.compared, found.featureless, asked, "a picture to compare")


def judge_places(case: Case) -> list[Verdict]:
    """G1 places: no place and no trip is in two splits."""
    proof = case.facts.proof
    if proof is None or proof.places is None or proof.trips is None:
        return left_open("the split does not look at where and when drives were driven")
    asked, places, trips = case.thresholds.splits, proof.places, proof.trips
    cells = ", ".join(f"{split} {count}" for split, count in places.cells.items())
    verdicts = [
        _nowhere(places.shared, f"{places.cell}; cells: {cells}"),
        _nowhere(trips.shared, f"a vehicle's recordings less than {trips.gap_s} s apart are one trip"),
    ]
    if places.reach_m is None or not places.reach_m >= asked.place_reach_m:
        verdicts += left_open(f"places are compared up to {places.reach_m} m, {asked.place_reach_m:g} are asked")
    if trips.gap_s < asked.trip_gap_s:
        verdicts += left_open(f"trips are joined up to {trips.gap_s} s, {asked.trip_gap_s} are asked")
    if trips.unnamed:
        verdicts += left_open(f"no log names the vehicle of {len(trips.unnamed)} drives, {trips.unnamed[0]} first")
    return verdicts + _known_share(proof, places.positioned, places.unpositioned, asked, "a position")


def _nowhere(shared: Mapping[str, int], said: str) -> Verdict:
    """Judge counts of what two splits share: every pair has to be there, and zero."""
    missing = [pair for pair in _SPLIT_PAIRS if pair not in shared]
    if found := [f"{pair} {count}" for pair, count in shared.items() if count != 0]:
        return Verdict("fail", f"{said}; shared: {', '.join(found)}")
    return Verdict("not_run", f"{said}; not compared: {', '.join(missing)}") if missing else Verdict("pass", said)


def _known_share(
    proof: SplitProof, known: Mapping[Split, int], unknown: Mapping[Split, int], asked: Splits, what: str
) -> list[Verdict]:
    """Judge whether enough of each split could be compared; what was counted has to be all there is."""
    found = []
    for split, samples in proof.samples.items():
        have, lack = known.get(split, 0), unknown.get(split, 0)
        if min(have, lack) < 0 or have + lack != samples or not samples:
            found.append(Verdict("not_run", f"{split}: {have} with {what} and {lack} without, of {samples} samples"))
        elif lack > asked.max_unknown_share * samples:
            found.append(Verdict("not_run", f"{split}: {lack} of {samples} samples without {what}"))
    return found
