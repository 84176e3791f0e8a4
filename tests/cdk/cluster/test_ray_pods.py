"""What Ray's nodes can do, as they announce it; what its processes are told of the lake: a place that the platform takes, that they may write, and where nothing expires."""

from __future__ import annotations

import pytest
from clusters import all_places

from cdk.access import IDENTITIES, Access, Workload
from cdk.cluster.place import Place
from cdk.cluster.ray import job_form, ray_objects
from cdk.cluster.ray_pods import variables
from cdk.model import DataClass, PoolKind
from platform_lib.abilities import EVALUATES, GPU, QAIC, TRAINS, offer, pool_resource
from platform_lib.home import LAKE_VARIABLE, wanted_lake


@pytest.mark.parametrize("place", all_places(), ids=lambda place: place.name)
def test_every_ray_process_knows_where_the_lake_lies(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {item.name: item.value for item in variables(place)}
    monkeypatch.setenv(LAKE_VARIABLE, str(told[LAKE_VARIABLE]))
    assert wanted_lake() == f"s3://{place.bucket(DataClass.SAMPLES)}/lake"
    assert place.environment.data.buckets[DataClass.SAMPLES].expire_days is None
    assert IDENTITIES[Workload.JOBS].data[DataClass.SAMPLES] is Access.WRITE


WHAT_POOLS_DO = {
    PoolKind.NVIDIA: {TRAINS, GPU},
    PoolKind.QUALCOMM: {EVALUATES, QAIC},
    PoolKind.CPU: {EVALUATES},
}


@pytest.mark.parametrize("place", all_places(), ids=lambda place: place.name)
def test_pools_announce_what_their_nodes_can_do_by_the_names_that_tasks_ask_for(place: Place) -> None:
    shared = next(item for item in ray_objects(place) if item.kind == "RayCluster").document()["spec"]
    kinds = {pool.name: pool.kind for pool in place.work_pools}
    for group in shared["workerGroupSpecs"]:
        name = group["groupName"]
        wanted = WHAT_POOLS_DO[kinds[name]] | {"CPU", pool_resource(name)}
        assert set(group["resources"]) == wanted
    # A task has to know what may be started before anything is: the head, which always is, says so.
    abilities = {TRAINS, EVALUATES} & {item for kind in kinds.values() for item in WHAT_POOLS_DO[kind]}
    assert set(shared["headGroupSpec"]["resources"]) == {"CPU", *map(offer, abilities)}


def test_a_jobs_head_offers_what_its_own_pool_can_do_and_no_more() -> None:
    place = next(iter(all_places()))
    for pool in place.work_pools:
        head = job_form(place, pool).document()["spec"]["rayClusterSpec"]["headGroupSpec"]
        offered = {offer(item) for item in WHAT_POOLS_DO[pool.kind] & {TRAINS, EVALUATES}}
        assert set(head["resources"]) == {"CPU", *offered}
