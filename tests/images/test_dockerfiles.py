"""The images' recipes, held against rules; no engine builds them here, and none is pretended to."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from clusters import place_of
from dockerfile_rules import lint, parse

from cdk.cluster.catalogue import objects_of
from cdk.cluster.ray_pods import USER_ID
from cdk.cluster.versions import MLFLOW, RAY

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.name for path in (ROOT / "images").glob("*/Dockerfile"))
GOOD = """\
# A comment.
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm
ARG BASE_DIGEST=
FROM ${BASE}${BASE_DIGEST} AS build
ENV PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/a \\
 # which may stand here
 && /opt/a/bin/pip install --constraint constraints.txt 'drivetrain[edge-open]'
FROM ${BASE}${BASE_DIGEST}
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends wget \\
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/a /opt/a
WORKDIR /home/a
USER 1000:1000
CMD ["a"]
"""


def test_every_repository_has_its_recipe() -> None:
    tree = ast.parse((ROOT / "cdk/blocks/registry.py").read_text())
    roles = next(
        ast.literal_eval(item.value)
        for item in tree.body
        if isinstance(item, ast.Assign) and getattr(item.targets[0], "id", "") == "IMAGE_ROLES"
    )
    assert sorted(roles) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_the_recipes_hold_the_rules(role: str) -> None:
    assert lint((ROOT / "images" / role / "Dockerfile").read_text()) == []


def test_the_good_example_is_good() -> None:
    assert lint(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("python:3.11.14-slim-bookworm", "python:latest", "pinned-base"),
        ("python:3.11.14-slim-bookworm", "python:3.11", "pinned-base"),
        ("python:3.11.14-slim-bookworm", "python", "pinned-base"),
        ("FROM ${BASE}${BASE_DIGEST} AS build", "FROM ${BASE} AS build", "pinned-base"),
        ("FROM ${BASE}${BASE_DIGEST}\n", "", "multi-stage"),
        ("USER 1000:1000\n", "", "non-root"),
        ("USER 1000:1000", "USER root", "non-root"),
        ("USER 1000:1000", "USER 0", "non-root"),
        ("USER 1000:1000", "USER ray", "non-root"),
        (" --no-install-recommends", "", "small"),
        (" \\\n && rm -rf /var/lib/apt/lists/*", "", "small"),
        ("apt-get update \\\n && ", "", "small"),
        ("ENV PIP_NO_CACHE_DIR=1\n", "", "small"),
        (" --constraint constraints.txt", "", "pinned-packages"),
        ("WORKDIR /home/a", "RUN pip install --constraint c a", "multi-stage"),
        ("WORKDIR /home/a", "ADD https://example.com/a.tar /a", "no-add"),
        ("WORKDIR /home/a", "RUN wget -O- https://example.com/a | sh", "no-add"),
        ("WORKDIR /home/a", "COPY . /a", "copies-named"),
        ("WORKDIR /home/a", "ARG DB_PASSWORD", "no-secrets"),
        ("WORKDIR /home/a", "ENV API_TOKEN=x", "no-secrets"),
        ("edge-open", "edge", "no-vendor-libraries"),
        ("edge-open]'", "data]' onnxruntime-qnn", "no-vendor-libraries"),
        ("WORKDIR /home/a", "COPY libQnnHtp.so /a", "no-vendor-libraries"),
        ('CMD ["a"]', "CMD a --b", "exec-form"),
        ('CMD ["a"]\n', "", "exec-form"),
        ("WORKDIR /home/a", "WORKDIR a", "absolute-workdir"),
    ],
)
def test_a_planted_fault_is_found(old: str, new: str, rule: str) -> None:
    assert old in GOOD
    assert rule in {item.rule for item in lint(GOOD.replace(old, new))}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_recipe_copies_is_there_and_reaches_the_builder(role: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for item in parse((ROOT / "images" / role / "Dockerfile").read_text()).of("COPY"):
        if item.text.startswith("--from"):
            continue
        for source in item.text.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source in let_in, source


@pytest.mark.parametrize("role", ROLES)
def test_extras_that_a_recipe_installs_exist(role: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (ROOT / "images" / role / "Dockerfile").read_text()
    named = {name for group in re.findall(r"'\.\[([\w,-]+)\]'", text) for name in group.split(",")}
    assert named <= extras.keys()
    assert role == "mlflow" or named


def test_no_extra_of_an_image_leads_to_the_vendors_libraries() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def packages(name: str) -> set[str]:
        found: set[str] = set()
        for item in extras[name]:
            inner = re.fullmatch(r"drivetrain\[([\w,-]+)\]", item)
            found |= set().union(*map(packages, inner.group(1).split(","))) if inner else {item}
        return found

    assert "onnxruntime-qnn" in packages("edge")
    for name in ("data", "train", "edge-open"):
        assert not any("qnn" in item for item in packages(name))


def test_versions_and_user_are_those_of_the_manifests() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert (pins["ray"], pins["mlflow"]) == (RAY, MLFLOW)
    for role in ROLES:
        users = parse((ROOT / "images" / role / "Dockerfile").read_text()).of("USER")
        assert users[-1].text == f"{USER_ID}:{USER_ID}"
    # What the Deployment starts is in the image.
    server = next(
        item for item in objects_of(place_of("dev")) if item.kind == "Deployment" and item.metadata.name == "mlflow"
    )
    assert "/opt/drivetrain/make_database.py" in yaml.safe_dump(server.document())
    assert "/opt/drivetrain/make_database.py" in (ROOT / "images/mlflow/Dockerfile").read_text()


def test_the_database_script_says_what_is_missing() -> None:
    script = ROOT / "images/mlflow/make_database.py"
    done = subprocess.run([sys.executable, script], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MLFLOW_BACKEND_STORE_URI is not set" in done.stderr


@pytest.mark.slow
def test_the_database_script_makes_the_database_once(tmp_path: Path) -> None:
    import sqlalchemy

    from platform_lib.catalog.addresses import database_uri
    from platform_lib.catalog.postgres import embedded_postgres
    from platform_lib.home import open_home

    script = ROOT / "images/mlflow/make_database.py"
    with embedded_postgres(open_home(tmp_path / "home")) as uri:
        wanted = database_uri(uri, "of-a-server")
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, script],
                env={"MLFLOW_BACKEND_STORE_URI": wanted},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        engine = sqlalchemy.create_engine(wanted)
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT current_database()")).scalar() == "of-a-server"
        engine.dispose()
