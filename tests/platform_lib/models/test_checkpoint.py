"""Checkpoints: the newest whole one of the same step, or none."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from platform_lib.models import checkpoint


def fill(folder, epochs: int, identity: str = "step") -> None:
    for epoch in range(1, epochs + 1):
        checkpoint.save(folder, epochs=epoch, identity=identity, state={"weights": torch.full((3,), float(epoch))})


def test_the_newest_is_loaded_and_old_ones_go(tmp_path):
    fill(tmp_path, 4)
    found = checkpoint.load_newest(tmp_path, identity="step")
    assert found is not None
    assert found.epochs == 4
    assert found.state["weights"].tolist() == [4.0] * 3
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == ["epoch-0003", "epoch-0004"]


@pytest.mark.parametrize("damage", ["flip", "cut", "no label", "no state", "label is no JSON"])
def test_a_broken_one_is_passed_over_for_the_one_before(tmp_path, caplog, damage):
    fill(tmp_path, 3)
    newest = tmp_path / "epoch-0003"
    state, label = newest / "state.pt", newest / "checkpoint.json"
    data = bytearray(state.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
    elif damage == "cut":
        state.write_bytes(data[:-10])
    elif damage == "no label":
        label.unlink()
    elif damage == "no state":
        state.unlink()
    else:
        label.write_text("{")
    found = checkpoint.load_newest(tmp_path, identity="step")
    assert found is not None
    assert found.epochs == 2
    assert "epoch-0003" in caplog.text


def test_a_broken_one_is_gone_with_the_next_state_and_does_not_count_as_one_of_two(tmp_path):
    fill(tmp_path, 3)
    (tmp_path / "epoch-0003" / "state.pt").write_bytes(b"")
    # Fitting goes on from epoch 2; in the middle of epoch 3 it saves.
    checkpoint.save(tmp_path, epochs=2, steps=5, identity="step", state={"weights": torch.ones(3)})
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == ["epoch-0002", "epoch-0002-step-00000005"]
    assert checkpoint.newest_name(tmp_path) == "epoch-0002-step-00000005", "or it would look as if nothing got on"


def test_one_of_another_step_is_never_resumed(tmp_path):
    fill(tmp_path, 2, identity="other data")
    assert checkpoint.load_newest(tmp_path, identity="step") is None
    assert checkpoint.load_newest(tmp_path / "absent", identity="step") is None


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (eval, ("__import__('pathlib').Path('/tmp/never').touch()",))

    fill(tmp_path, 1)
    state, label = tmp_path / "epoch-0001/state.pt", tmp_path / "epoch-0001/checkpoint.json"
    torch.save({"weights": Evil()}, state)
    content = json.loads(label.read_text())
    label.write_text(json.dumps({**content, "sha256": hashlib.sha256(state.read_bytes()).hexdigest()}))
    with pytest.raises(Exception, match=r"[Ww]eights.only|Unsupported"):
        checkpoint.load_newest(tmp_path, identity="step")


def test_equal_states_give_equal_bytes():
    assert checkpoint.torch_bytes({"w": torch.ones(5)}) == checkpoint.torch_bytes({"w": torch.ones(5)})
    assert checkpoint.torch_bytes({"w": torch.ones(5)}) != checkpoint.torch_bytes({"w": torch.zeros(5)})


def test_what_was_published_is_told_also_when_it_is_deleted_and_also_what_a_kill_left_untold(tmp_path):
    fill(tmp_path, 3)
    told = checkpoint.published(tmp_path)
    assert [item.name for item in told] == ["epoch-0001", "epoch-0002", "epoch-0003"]
    assert told[2] == checkpoint.label_of(tmp_path / "epoch-0003")
    log = tmp_path / "published.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert checkpoint.published(tmp_path) == told
    for name, sha256 in (("../../elsewhere", told[0].sha256), ("epoch-0001", "../" * 20 + "x"), ("epoch-0001", 7)):
        with log.open("a") as stream:
            stream.write("\n" + json.dumps({"name": name, "sha256": sha256, "step": 1}))
    assert checkpoint.published(tmp_path) == told, "what leads out of the folder is none"
    log.unlink()
    assert checkpoint.published(tmp_path) == told[1:]
    (tmp_path / "epoch-0003" / checkpoint.LABEL).write_text("[]")
    assert checkpoint.published(tmp_path) == told[1:2]
