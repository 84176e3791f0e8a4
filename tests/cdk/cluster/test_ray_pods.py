"""What Ray's processes are told of the lake: a place that the platform takes, that they may write, and where nothing expires."""

from __future__ import annotations

import pytest
from clusters import all_places

from cdk.access import IDENTITIES, Access, Workload
from cdk.cluster.place import Place
from cdk.cluster.ray_pods import variables
from cdk.model import DataClass
from platform_lib.home import LAKE_VARIABLE, wanted_lake


@pytest.mark.parametrize("place", all_places(), ids=lambda place: place.name)
def test_every_ray_process_knows_where_the_lake_lies(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {item.name: item.value for item in variables(place)}
    monkeypatch.setenv(LAKE_VARIABLE, str(told[LAKE_VARIABLE]))
    assert wanted_lake() == f"s3://{place.bucket(DataClass.SAMPLES)}/lake"
    assert place.environment.data.buckets[DataClass.SAMPLES].expire_days is None
    assert IDENTITIES[Workload.JOBS].data[DataClass.SAMPLES] is Access.WRITE
