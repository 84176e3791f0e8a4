"""A search: proposed, cut, stopped, gone on with, shown; and spaces that cannot be."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from slow_training import own_recipe

from platform_lib.errors import ConfigError
from platform_lib.home import open_home
from ray_jobs.search_space import Between, OneOf, Space, usual_space, with_values
from ray_jobs.tune import _epochs_before, tune
from ray_jobs.tune_page import TrialLine, write_page

SPACE = Space(
    {"fit.learning_rate": Between(1e-4, 1e-1, log=True), "planner.hidden": OneOf((4, 8))}, metric="val_error_m"
)


def test_values_are_set_where_the_path_leads():
    made = with_values(own_recipe(), {"fit.learning_rate": 0.5, "planner.hidden": 3})
    assert (made.fit.learning_rate, made.planner.hidden) == (0.5, 3)
    assert own_recipe().fit.learning_rate == 1e-2
    with pytest.raises(ConfigError, match=r"'fit.rate' is nothing of this recipe"):
        with_values(own_recipe(), {"fit.rate": 0.5})
    with pytest.raises(ConfigError, match="nothing lies between"):
        Between(1.0, 1.0)
    with pytest.raises(ConfigError, match="nothing lies between"):
        Between(0.0, 1.0, log=True)
    assert set(usual_space(own_recipe()).ranges) == {"fit.learning_rate", "fit.weight_decay"}


def test_the_page_needs_no_network_and_shows_every_trial(tmp_path: Path):
    lines = [
        TrialLine(2, 0.5, {"rate": 0.1, "kind": "<b>"}, (1.0, 0.5)),
        TrialLine(1, 0.9, {"rate": 0.001, "kind": "y"}, (0.9,)),
    ]
    write_page(tmp_path / "index.html", "mine", "val_ade_m", lines)
    text = (tmp_path / "index.html").read_text()
    assert "2 trials; the best, number 2, reached val_ade_m 0.5" in text
    assert "&lt;b&gt;" in text
    assert text.count("<svg") == 4
    assert "<script" not in text
    assert 'src="http' not in text
    for svg in text.split("<svg")[1:]:
        ET.fromstring("<svg" + svg[: svg.index("</svg>")] + "</svg>")  # noqa: S314 - our own


def test_epochs_of_the_same_values_alone_are_told_again(tmp_path: Path):
    curve = [{"epoch": 1, "val_ade_m": 0.5}]
    assert _epochs_before(tmp_path, "a") == []
    (tmp_path / "trial.json").write_text(json.dumps({"config_sha256": "a", "curve": curve}))
    assert _epochs_before(tmp_path, "a") == curve
    assert _epochs_before(tmp_path, "b") == []
    (tmp_path / "trial.json").write_text("{")
    assert _epochs_before(tmp_path, "a") == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own
@pytest.mark.soak  # starts Ray twice
def test_a_search_goes_on_where_it_was_and_refuses_what_is_another(
    reachable_tmp: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2] / "docs" / "examples"))
    home = open_home(reachable_tmp / "home")
    recipe = dataclasses.replace(own_recipe(), fit=dataclasses.replace(own_recipe().fit, epochs=9))
    first = tune(home, recipe, dataset=None, study="s", trials=2, space=SPACE)
    assert (len(first.trials), first.ran) == (2, 2)
    more = tune(home, recipe, dataset=None, study="s", trials=5, space=SPACE)
    assert more.ran == 3
    assert {line.number for line in first.trials} <= {line.number for line in more.trials}
    assert more.value == min(line.value for line in more.trials) <= first.value
    assert min(len(line.curve) for line in more.trials) < 9 == max(len(line.curve) for line in more.trials)
    assert json.loads((more.folder / "study.json").read_text())["best"]["value"] == more.value
    assert tune(home, recipe, dataset=None, study="s", trials=5, space=SPACE).ran == 0
    with pytest.raises(ConfigError, match="searched another recipe"):
        tune(home, own_recipe(), dataset=None, study="s", trials=6, space=SPACE)
