"""The vision-language-action model: what it may choose, what it learns to say, what leaves as a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from driving_family import NORMAL, VLA, batch

from platform_lib.errors import ConfigError, ContractError, MissingPartError
from platform_lib.models import rationale
from platform_lib.models.hugging_face import NamedBackbone
from platform_lib.models.interface import PlannerInput
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.planner import TorchPlanner
from platform_lib.models.rationale import ANSWERS, answer_rows
from platform_lib.models.registry import restored, saved
from platform_lib.models.vla_model import VlaModel

WHY = torch.zeros(3, dtype=torch.long)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> VlaModel:
    torch.manual_seed(0)
    return VlaModel(VLA, NORMAL)


def test_only_trajectory_tokens_can_be_chosen_and_after_them_only_words(model):
    given = batch(3)
    net = model.network.eval()
    words = net.backbone.causal.get_output_embeddings()
    with torch.inference_mode():
        plan, said = net.speak(given.image, given.ego_history, given.command, WHY)
        before = words.weight.clone()
        words.weight.mul_(1e3)  # words that shout louder than any trajectory token
        tokens = net.decode(given.image, given.ego_history, given.command, WHY)
        words.weight.copy_(before)
    assert plan.shape == (3, 6, 2)
    assert tokens.shape == (3, 12)
    assert int(tokens.min()) >= 0
    assert int(tokens.max()) < VLA.trajectory.bins
    vocabulary = {word for sentence in rationale.sentences() for word in sentence.split()}
    assert all(set(sentence.split()) <= vocabulary for sentence in said)
    # The plan is made of bins' middles: a residual that is none was not chosen from the vocabulary.
    residual = net.path.residual(given.ego_history, plan)
    assert torch.allclose(VLA.trajectory.decode(VLA.trajectory.encode(residual)), residual, atol=1e-3)


def test_predicting_with_labels_is_decoding_step_by_step(model):
    given, net = batch(3), model.network.eval()
    with torch.inference_mode():
        tokens = net.decode(given.image, given.ego_history, given.command, WHY)
        words = torch.full((3, VLA.answer_words), net.language.padding)
        logits, _ = net(given.image, given.ego_history, given.command, WHY, tokens, words)
    assert torch.equal(logits[..., net.backbone.words :].argmax(dim=-1), tokens)


def test_nothing_later_is_seen(model):
    given, net = batch(3), model.network.eval()
    words = torch.full((3, VLA.answer_words), net.language.padding)
    tokens = torch.randint(0, 32, (3, 12))
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 5) % 32
    with torch.inference_mode():
        one, _ = net(given.image, given.ego_history, given.command, WHY, tokens, words)
        other, _ = net(given.image, given.ego_history, given.command, WHY, changed, words)
    assert torch.equal(one[:, :8], other[:, :8])
    assert not torch.allclose(one[:, 8:], other[:, 8:])


def test_it_learns_the_path_and_what_to_say_of_it():
    torch.manual_seed(1)
    model, given = VlaModel(replace(VLA, text_weight=2.0), NORMAL), batch(6)
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=1e-2)
    losses = []
    model.network.train()
    for _ in range(60):
        loss = model.loss(model.forward(given), given)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    plan = model.forward(given)
    meant = plan.text_targets != -100
    right = (plan.text_logits.argmax(dim=-1) == plan.text_targets)[meant].float().mean()
    assert float(right) > 0.6  # every answer, word by word; a guess of the commonest word has a third


def test_the_graph_repeats_torch_with_the_planners_interface(tmp_path, model):
    given = batch(3)
    export_onnx(model.network, tmp_path / "m.onnx")
    assert {node.op_type for node in onnx.load(str(tmp_path / "m.onnx")).graph.node}.isdisjoint(
        {"Loop", "If", "NonZero"}
    )
    image = (given.image * 255).to(torch.uint8).numpy()
    inputs = PlannerInput(image, given.ego_history.numpy(), given.command.argmax(dim=1).numpy())
    found = OnnxPlanner("o", tmp_path / "m.onnx").plan(inputs) - TorchPlanner("t", model.network).plan(inputs)
    assert np.abs(found).max() <= model.export_tolerance_m


def test_answers_follow_the_path_and_the_tags():
    given = batch(4)
    tags = torch.zeros(4, 8, dtype=torch.uint8)
    tags[0, [0, 3]] = 1  # clear, traffic light
    tags[1, [1, 4, 6]] = 1  # rain, pedestrian before lead
    tags[2, [2, 7]] = 1  # night, cruise
    future = given.future_m.clone()
    speed = given.ego_history[:, -1, 0]
    reach = speed[:, None] * torch.arange(1, 7) * 0.5
    future[:, :, 0], future[:, :, 1] = reach, 0.0
    future[0, 4:] = future[0, 3]  # stands at the end
    future[1, 5, 0] = future[1, 4, 0] + 0.5 * (speed[1] - 3)
    future[2, 5, 0] = future[2, 4, 0] + 0.5 * (speed[2] + 3)
    said = [
        [ANSWERS[row] for row in answer_rows(given.ego_history, future, tags, WHY.new_full((4,), q))] for q in range(3)
    ]
    assert said[0] == [
        "stop for a red light",
        "slow down for a pedestrian",
        "speed up for a free road",
        "keep the speed for unknown",
    ]
    assert said[1] == ["a red light", "a pedestrian", "a free road", "unknown"]
    assert said[2] == ["clear", "rain", "night", "unknown"]


def test_a_backbone_that_lies_in_a_folder_is_loaded_with_its_tokenizer(tmp_path, model):
    folder = tmp_path / "backbone"
    model.network.backbone.causal.save_pretrained(folder)
    model.network.language._tokenizer.save_pretrained(folder)
    named = replace(VLA, backbone=NamedBackbone(str(folder), frozen=True))
    loaded = VlaModel(named, NORMAL)
    own, other = (one.network.backbone.causal.state_dict() for one in (model, loaded))
    assert all(torch.equal(value, other[name]) for name, value in own.items())
    assert not any(weight.requires_grad for weight in loaded.network.backbone.parameters())
    assert loaded.network.prompt_ids.equal(model.network.prompt_ids)
    again = restored(saved(named, NORMAL, loaded.network))
    given = batch(2)
    with torch.inference_mode():
        plans = [one.network.eval()(given.image, given.ego_history, given.command) for one in (loaded, again)]
    assert torch.equal(*plans)


def test_a_backbone_that_is_not_here_is_named_with_its_remedy(tmp_path):
    with pytest.raises(MissingPartError, match=r"no such language model on this machine.*Remedy: name a folder"):
        VlaModel(replace(VLA, backbone=NamedBackbone(str(tmp_path / "absent"))), NORMAL)


def test_answers_that_have_no_room_and_plans_without_logits_are_refused(model):
    with pytest.raises(ConfigError, match="Remedy: take 10 or more"):
        VlaModel(replace(VLA, answer_words=3), NORMAL)
    model.network.eval()
    with pytest.raises(ConfigError, match="a decoded plan has no loss"):
        model.loss(model.forward(batch(2)), batch(2))


def test_weights_of_another_model_are_refused(model):
    weights = saved(VLA, NORMAL, model.network)
    for wrong in ({**weights, "model": "other"}, {**weights, "model": "bev"}, {**weights, "state": {}}):
        with pytest.raises(ContractError):
            restored(wrong)
