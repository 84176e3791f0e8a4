"""Raw and blurred frames of a lake in a bucket: blurred through faults, mended, restored, expired, erased."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_logs import CAMERA, write_camera_log
from drawn_people import background, face, jpeg, paste
from faulty_store import BUCKET, FaultyStore, every_third, every_third_write, faulty_store

from platform_lib.catalog.backup import back_up, restore
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.home import open_home
from platform_lib.lake import objects
from platform_lib.lake.lake import Lake
from platform_lib.lake.objects import ObjectPath
from platform_lib.privacy.config import DEFAULT
from platform_lib.privacy.retention import expire_raw
from ray_jobs.blur import blur
from ray_jobs.ingest import ingest
from ray_jobs.mending import check, mend
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector; so do broken connections.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_FRAMES = 4


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with faulty_store(monkeypatch) as made:
        monkeypatch.setenv("DRIVETRAIN_LAKE", str(ObjectPath(BUCKET, "fleet")))
        yield made


def _frames(lake: Lake) -> dict[str, int]:
    return {drive.drive_id: lake.samples(drive.drive_id, CAMERA).num_rows for drive in lake.drives()}


def _pictures(seed: int) -> list[bytes]:
    rng, found = np.random.default_rng(seed), []
    for number, frame in enumerate(background(_FRAMES)):
        paste(frame, face(44, rng), 40 + 20 * number + seed % 7, 60)
        found.append(jpeg(frame))
    return found


def test_frames_are_blurred_mended_restored_expired_and_erased(store: FaultyStore, reachable_tmp: Path) -> None:
    home, logs, saved = open_home(reachable_tmp / "home"), reachable_tmp / "logs", reachable_tmp / "saved"
    for session in ("one", "two"):
        write_camera_log(
            logs / f"{session}.mcap", session, "present", [*_pictures(ord(session[0])), session.encode() * 50]
        )
    with local_ray(home, cpus=2):
        with embedded_postgres(home) as uri, Lake.open(home) as lake:
            ingest(home, [logs])
            assert _frames(lake) == {"v_one": 0, "v_two": 0}, "raw frames come out by no way"
            store.plan, store.plan_writes = every_third, every_third_write
            assert blur(home, DEFAULT).frames == 2 * _FRAMES
            store.plan, store.plan_writes = lambda path, number: None, lambda method, path, number: None
            assert _frames(lake) == {"v_one": _FRAMES, "v_two": _FRAMES}
            assert check(home, digests=True).found.findings == ()
            lost = next(iter(lake.store.blurred.files()[0][1]))
            assert isinstance(lost, ObjectPath)
            objects.delete([lost])
            kinds = sorted(item.kind for item in check(home, digests=True).found.findings)
            assert kinds == ["lost file", "wrong count"], "the other log's frames are looked at all the same"
            mended = mend(home, digests=True)
            assert (mended.clean, mended.blur_again, mended.left) == (True, 1, {})
            assert blur(home, DEFAULT).ingests == 1
            assert _frames(lake) == {"v_one": _FRAMES, "v_two": _FRAMES}
            back_up(uri, saved)
        shutil.rmtree(home.postgres)  # the database is gone; the bucket is not
        with embedded_postgres(home) as uri:
            assert restore(saved, uri) == []
            with Lake.open(home) as lake:
                assert _frames(lake) == {"v_one": _FRAMES, "v_two": _FRAMES}
                assert check(home, digests=True).found.findings == ()
                assert expire_raw(home, now_ns=10**18, days=0).kept == 0
                assert lake.store.raw.counts() == {}
                assert _frames(lake) == {"v_one": _FRAMES, "v_two": _FRAMES}, "what was blurred stays"
                assert check(home, digests=True).found.findings == ()
                report = erase(home, make_scope("v_one", None, None, None), reason="request 1", requested_by="x")
                assert report.proof is not None
                assert report.proof.files == ()
                assert report.proof.needles > 0
                assert _frames(lake) == {"v_two": _FRAMES}
                assert check(home, digests=True).found.findings == ()
