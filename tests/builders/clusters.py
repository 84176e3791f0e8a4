"""Clusters of the environments in this repository, and what belongs in them."""

from __future__ import annotations

from datetime import date

from cdk.cluster.kinds.base import Manifest
from cdk.cluster.place import Outputs, Place
from cdk.cluster.ray import job_form
from cdk.config import load_environment
from cdk.model import Environment

TODAY = date(2026, 11, 30)
OUTPUTS = Outputs("metadata.abc.us-east-1.rds.amazonaws.com", "arn:aws:secretsmanager:us-east-1:1:secret:rds!db-1")


def environment_of(name: str) -> Environment:
    return load_environment(name, today=TODAY)


def place_of(name: str, region: int = 0) -> Place:
    environment = environment_of(name)
    return Place(environment, environment.regions[region], "v1.2.3", OUTPUTS)


def all_places() -> list[Place]:
    return [
        place_of(name, number)
        for name in ("local", "dev", "prod")
        for number in range(len(environment_of(name).regions))
    ]


def forms(place: Place) -> list[Manifest]:
    return [job_form(place, item) for item in place.work_pools]
