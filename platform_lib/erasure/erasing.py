"""Erase a scope from a home, and prove it. Killed at any point, the next erasure goes on where it stopped.

1. find     contents and times that the scope names                             nothing changed yet
2. begin    tombstone, contents blocked, whole logs and all clips invisible     one PostgreSQL transaction
3. keep     what stays of logs erased in part, as ingests of their own          one transaction a log
4. derived  datasets, pictures, pages, logs inside the home                     deleted
5. stores   rows, then every older version with its files                       deleted
6. names    catalogue rows, in the same transaction the plan itself             deleted; clips of what stays are derived
            anew, and the database is rewritten
7. prove    every row of every store, every byte of every file                  done, or an error that says where

It holds the locks of ingest, blur and dataset: nobody writes what is being erased, and nothing new is made of it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from platform_lib.catalog.account import DATABASE_URL_VARIABLE
from platform_lib.catalog.elsewhere import exports
from platform_lib.catalog.erasures import Erasures, OpenErasure, Tombstone
from platform_lib.catalog.lineage import Lineage
from platform_lib.erasure.decoded import remove_decoded
from platform_lib.erasure.derived import (
    DerivedDataset,
    datasets_with,
    held,
    remove_datasets,
    remove_exports,
    remove_logs,
    remove_named,
    remove_pieces,
)
from platform_lib.erasure.history import drop_rows, forget_older
from platform_lib.erasure.keeping import keep_rest
from platform_lib.erasure.needles import Needles, scan, scan_objects
from platform_lib.erasure.old_versions import beyond_reach, drop_old_versions, refuse_hidden
from platform_lib.erasure.scope import Scope
from platform_lib.erasure.targets import Search, Targets, find_targets, needles_of
from platform_lib.erasure.windows import Window
from platform_lib.errors import ConfigError, IntegrityError
from platform_lib.home import Home
from platform_lib.lake.clips import refresh_clips
from platform_lib.lake.compaction import finish_rewrite, note_files
from platform_lib.lake.lake import Lake
from platform_lib.lake.objects import ObjectPath
from platform_lib.lake.place import lake_of
from platform_lib.lake.sweeping import sweep
from platform_lib.privacy.leftovers import note_blurred_files, sweep_blurs

logger = logging.getLogger(__name__)

_LOCKS = ("dataset", "ingest", "blur")  # in the order in which a dataset's build would take the first


@dataclass(frozen=True, slots=True)
class Proof:
    """What was looked at after an erasure, and what was found.

    Attributes:
        files: Files that hold a piece of what was erased; none, or the erasure is not done.
        bundles: Files of signed bundles that name an erased drive and hold nothing else of it. They stay as signed.
        bytes: How many bytes of the home were looked at.
        needles: How many pieces were looked for.
        beyond: What may hold copies and was not looked at, in words: of a lake in a bucket, what the bucket replicates to.
    """

    files: tuple[str, ...]
    bundles: tuple[str, ...]
    bytes: int
    needles: int
    beyond: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What an erasure did, or with `dry_run` would do.

    Attributes:
        drives: Drives of which something goes; of `gone` nothing stays.
        files: Contents that go whole.
        files_in_part: Contents of which a time window goes.
        datasets: Datasets that hold something of it: they go whole.
        marked: Runs, models, evaluations and bundles made from it, by digest: they stay, marked.
        sharing: Drives that hold some of the same pictures whole, bit for bit. They were not named, and stay.
        sharing_samples: Stream -> drives that hold some of its samples, which are no pictures, whole, bit for bit.
        pieces: How many pieces of content are looked for: `searched`; how many are not, since something that stays holds
            them: `shared`; and of how many of the `samples` none is: `samples_without`.
        unplaced: Drives without a position, of which nobody can say whether they were in the area; they stay.
        logs_outside: Recorded logs outside the home: they are not this home's to delete, and are never taken in again.
        exports_outside: Exports, written outside the home, of datasets that hold something of it: likewise not this home's.
        tombstone: None with `dry_run`.
        finished: Older erasures that a kill had left, and that this run finished first.
    """

    dry_run: bool
    drives: tuple[str, ...]
    gone: tuple[str, ...]
    files: int
    files_in_part: int
    datasets: tuple[str, ...]
    marked: tuple[tuple[str, str], ...]
    sharing: tuple[str, ...]
    sharing_samples: Mapping[str, tuple[str, ...]]
    pieces: Mapping[str, int]
    unplaced: tuple[str, ...]
    logs_outside: tuple[str, ...]
    exports_outside: tuple[str, ...]
    tombstone: Tombstone | None
    proof: Proof | None
    finished: tuple[int, ...] = field(default=())


def erase(home: Home, scope: Scope | None, *, reason: str, requested_by: str, dry_run: bool = False) -> ErasureReport:
    """Erase a scope; without one, finish what a kill left.

    Args:
        home: From where.
        scope: What.
        reason: Why, for the tombstone.
        requested_by: Who, for the tombstone.
        dry_run: Only say what would go.

    Raises:
        ConfigError: No such drive, nothing in the scope, or a reason that names what is erased.
        HomeBusyError: A dataset that holds it is in use.
        IntegrityError: A piece of it is still there: the message says where.
    """
    with Lake.turn(home, *_LOCKS) as lake:
        erasures = Erasures(lake.catalog.engine)
        finished: tuple[int, ...] = ()
        if isinstance(lake.store.root, ObjectPath):
            refuse_hidden(lake.store.root)
        if not dry_run:
            _prepare(lake)
            finished = tuple(_finish(home, lake, item)[0].erasure_id for item in erasures.open())
            sweep(lake)  # rows of logs that a killed ingest had not committed, whose drives nobody knows
        if scope is None:
            return ErasureReport(dry_run, (), (), 0, 0, (), (), (), {}, {}, (), (), (), None, None, finished)
        _refuse_imported(home, lake, scope)
        targets = _targets(lake, scope)
        _refuse_telling(reason, requested_by, targets)
        files = [item.file_sha256 for item in targets.items]
        datasets = datasets_with(home, targets.drives, files)
        marks = _marks(home, lake, files, datasets)
        search = needles_of(lake, targets)
        with held(home, datasets):
            tombstone = proof = None
            if not dry_run:
                erasure_id = _begin(erasures, search, scope, targets, datasets, marks, reason, requested_by)
                opened = next(item for item in erasures.open() if item.erasure_id == erasure_id)
                tombstone, proof = _finish(home, lake, opened, held_already=True)
    outside = [path for item in targets.items for path in item.paths if not Path(path).is_relative_to(home.root)]
    left = [
        item for item in exports(home, {digest for digest, _ in marks}) if not item.is_relative_to(home.root.resolve())
    ]
    return ErasureReport(
        dry_run=dry_run,
        drives=targets.drives,
        gone=targets.gone,
        files=sum(item.whole for item in targets.items),
        files_in_part=sum(not item.whole for item in targets.items),
        datasets=tuple(item.folder.name for item in datasets),
        marked=tuple(marks),
        sharing=search.pictures,
        sharing_samples=search.samples,
        pieces=_counts(search),
        unplaced=targets.unplaced,
        logs_outside=tuple(sorted(outside)),
        exports_outside=tuple(sorted(map(str, left))),
        tombstone=tombstone,
        proof=proof,
        finished=finished,
    )


def _refuse_imported(home: Home, lake: Lake, scope: Scope) -> None:
    """An erasure begins with logs; a drive that was only ever imported has none, and must not be taken for gone."""
    if scope.drive is None or lake.catalog.drives([scope.drive]):
        return
    if holders := [item.folder.name for item in datasets_with(home, [scope.drive], [])]:
        raise ConfigError(
            f"no log of '{scope.drive}' is in the lake, and the imported datasets {', '.join(holders)} hold it",
            where="--drive",
            remedy="delete those folders of HOME/datasets; `drivetrain lineage --dataset NAME` says what was made from them",
        )


def _targets(lake: Lake, scope: Scope) -> Targets:
    targets = find_targets(lake, scope)
    if not targets.items:
        without = f"; {len(targets.unplaced)} drives carry no position" if targets.unplaced else ""
        raise ConfigError(
            f"nothing in the lake lies in what is named{without}",
            where="drivetrain erase",
            remedy="`drivetrain drives` shows what there is, and when it was driven",
        )
    return targets


def _prepare(lake: Lake) -> None:
    """Clear what killed commands left. Their workers outlive them: none may write any more once this is done."""
    lake.store.mend(lake.catalog.head())
    lake.store.mend_blurred()
    lake.store.create()
    finish_rewrite(lake)
    for writers in (lake.store.writers, lake.store.blur_writers):
        with writers.barred():
            lake.store.collect_garbage()
            lake.store.blurred.drop(())
            writers.end()
    sweep_blurs(lake)


def _refuse_telling(reason: str, requested_by: str, targets: Targets) -> None:
    """A tombstone that names the drive would tell what was erased."""
    for name in targets.drives:
        if name in reason or name in requested_by:
            raise ConfigError(
                f"the reason names what is erased ({name}), and is kept",
                where="--reason",
                remedy="write why, without the drive: a ticket's number, or 'request of the person shown'",
            )
    if not reason.strip():
        raise ConfigError("no reason is given", where="--reason", remedy="write why; it is kept in the tombstone")


def _marks(home: Home, lake: Lake, files: Sequence[str], datasets: Sequence[DerivedDataset]) -> list[tuple[str, str]]:
    """Return digest and kind of everything that saw these contents, by the catalogue's edges.

    A dataset that was imported has none to the logs, though it may hold what was exported of them.
    """
    lineage = Lineage(lake.catalog.engine)
    lineage.note_folders(home)
    own = [item.sha256 for item in datasets if item.sha256 is not None]
    found = {(digest, kind) for digest, (kind, _) in lineage.kind_of(own).items()}
    return sorted(found | {(item.sha256, item.kind) for item in lineage.descendants([*files, *own])})


def _counts(search: Search) -> dict[str, int]:
    return {
        "searched": search.pieces,
        "shared": search.shared,
        "samples": search.of,
        "samples_without": search.bare,
    }


def _begin(
    erasures: Erasures,
    search: Search,
    scope: Scope,
    targets: Targets,
    datasets: Sequence[DerivedDataset],
    marks: Sequence[tuple[str, str]],
    reason: str,
    requested_by: str,
) -> int:
    removed = {item.sha256 for item in datasets}
    plan: dict[str, Any] = {
        "items": [
            {
                "ingest_id": item.ingest_id,
                "file_sha256": item.file_sha256,
                "paths": list(item.paths),
                "windows": [list(window) for window in item.windows],
            }
            for item in targets.items
        ],
        "gone": list(targets.gone),
        "drives": list(targets.drives),
        "marks": [[digest, kind, digest in removed] for digest, kind in marks],
        "pieces": _counts(search),
    }
    return erasures.begin(
        scope_sha256=scope.sha256,
        requested_by=requested_by,
        reason=reason,
        plan=plan,
        needles=search.needles.to_bytes(),
        files=[item.file_sha256 for item in targets.items],
        hidden=[item.ingest_id for item in targets.items if item.whole],
    )


def _finish(home: Home, lake: Lake, opened: OpenErasure, *, held_already: bool = False) -> tuple[Tombstone, Proof]:
    """Do what is left of an erasure. Every step may have been done before, wholly or in part."""
    erasures, needles = Erasures(lake.catalog.engine), Needles.from_bytes(opened.needles)
    if opened.plan is not None:
        datasets = datasets_with(home, opened.plan["drives"], [item["file_sha256"] for item in opened.plan["items"]])
        with held(home, () if held_already else datasets):
            _remove(home, lake, opened.erasure_id, opened.plan, needles, datasets)
    erasures.forget_names(opened.erasure_id, needles.telling)
    refresh_clips(lake)
    erasures.shred(own_server=not os.environ.get(DATABASE_URL_VARIABLE))
    if isinstance(lake.store.root, ObjectPath):
        drop_old_versions(lake.store.root)
    proof = prove(home, needles)
    if proof.files:
        raise IntegrityError(
            f"{len(proof.files)} files still hold a piece of what was erased: {', '.join(proof.files[:3])}",
            where=home.root,
            remedy=_remedy(home, proof.files),
        )
    counts: dict[str, JsonValue] = {"bytes_looked_at": proof.bytes, "pieces_looked_for": proof.needles}
    return erasures.done(opened.erasure_id, counts), proof


def _remedy(home: Home, files: Sequence[str]) -> str:
    if any(Path(name).is_relative_to(home.postgres) for name in files):
        return (
            "files in there are the database's: delete none of them. Run `drivetrain erase --resume`, and report it should the same "
            "be found again; the erasure stays open until nothing is"
        )
    return "delete those files, then run `drivetrain erase --resume`; the erasure stays open until none is found"


def _remove(
    home: Home,
    lake: Lake,
    erasure_id: int,
    plan: Mapping[str, Any],
    needles: Needles,
    datasets: Sequence[DerivedDataset],
) -> None:
    erasures = Erasures(lake.catalog.engine)
    _keep_rests(lake, plan["items"])
    whole = [item["file_sha256"] for item in plan["items"] if not item["windows"]]
    partly = [item["file_sha256"] for item in plan["items"] if item["windows"]]
    remove_datasets(home, datasets)
    remove_exports(home, {digest for digest, _, _ in plan["marks"]})
    erasures.mark(erasure_id, [(digest, kind, removed) for digest, kind, removed in plan["marks"]])
    logs, _ = remove_logs(home, [path for item in plan["items"] for path in item["paths"]])
    files = logs + remove_named(home, plan["gone"]) + remove_pieces(home, needles)[0]
    files += remove_decoded(home, plan["drives"], {digest for digest, _, _ in plan["marks"]})
    going = erasures.ingests_of([*whole, *partly])
    rows = _count_rows(lake, going)
    owners = lake.catalog.file_owners()
    erasures.advance(drop_rows(lake.store, going, erasures.blurs_of(going), owners))
    forget_older(lake.store)
    note_files(lake)
    note_blurred_files(lake, rewritten=True)
    if plan["items"]:
        counts: dict[str, JsonValue] = {
            "drives": len(plan["drives"]),
            "drives_gone": len(plan["gone"]),
            "contents": len(whole),
            "contents_in_part": len(partly),
            "datasets": sum(bool(removed) for _, _, removed in plan["marks"]),
            "marked": len(plan["marks"]),
            "files_deleted_beside_the_stores": files,
            **{f"pieces_{name}": count for name, count in plan.get("pieces", {}).items()},
        }
        erasures.count(erasure_id, {**counts, **({"rows": rows} if rows else {})})
    erasures.remove(erasure_id, going, whole, partly)


def _keep_rests(lake: Lake, items: Sequence[Mapping[str, Any]]) -> None:
    visible = {item.ingest_id for item in lake.catalog.view().ingests}
    for item in items:
        if item["windows"] and item["ingest_id"] in visible:
            windows: list[Window] = [(start, stop) for start, stop in item["windows"]]
            keep_rest(lake, item["ingest_id"], windows)


def _count_rows(lake: Lake, ingest_ids: Sequence[int]) -> int:
    """Count rows that go, in the sample and frame stores."""
    if not ingest_ids:
        return 0
    named = f"ingest_id IN ({', '.join(map(str, ingest_ids))})"
    head = lake.catalog.head()
    samples = 0 if head is None else lake.store.samples(head).count_rows(filter=named)
    blurs = Erasures(lake.catalog.engine).blurs_of(ingest_ids)
    frames = len(lake.store.raw.rows(ingest_ids, columns=["ingest_id"]))
    return int(samples) + frames + len(lake.store.blurred.rows(blurs, columns=["blur_id"]))


def prove(home: Home, needles: Needles) -> Proof:
    """Look at every byte of every file of a home, and of its lake in a bucket, for pieces of what was erased."""
    found, looked = scan(home.root, needles)
    lake = lake_of(home)
    objects: list[str] = []
    more, beyond = 0, tuple[str, ...]()
    if isinstance(lake, ObjectPath):
        (objects, more), beyond = scan_objects(lake, needles), beyond_reach(lake)
    bundles = [item for item in found if item.path.is_relative_to(home.bundles) and not item.content]
    rest = [str(item.path) for item in found if item not in bundles] + objects
    return Proof(tuple(rest), tuple(str(item.path) for item in bundles), looked + more, len(needles), beyond)
