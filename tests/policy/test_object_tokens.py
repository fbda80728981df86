"""Tokens that say where things are."""

import dataclasses

import pytest
import torch
from model_inputs import CONFIG, inputs, make_model

from multismolvla.embodiment.so101 import KINEMATICS
from multismolvla.policy.gripper_frame import gripper_pose
from multismolvla.policy.object_tokens import (
    IN_FRAME,
    LOG_LEAST,
    LOG_MOST,
    READ,
    SYMMETRIES,
    ObjectTokens,
)

OBJECTS = ("red_cube", "green_brick")
WITH_OBJECTS = dataclasses.replace(CONFIG, objects=OBJECTS)


def states(batch: int, seed: int = 3) -> torch.Tensor:
    """(B, 18): joints, here not normalised, and the hand's pose."""
    joints = torch.rand(batch, 6, generator=torch.Generator().manual_seed(seed)) - 0.5
    return torch.cat((joints, gripper_pose(KINEMATICS, joints)), dim=1)


def view_tokens(batch: int, seed: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    width = CONFIG.text.hidden_size
    return torch.randn(batch, 2, CONFIG.tokens_per_view, width, generator=generator)


def make_tokens() -> ObjectTokens:
    torch.manual_seed(0)
    return ObjectTokens(WITH_OBJECTS, KINEMATICS).eval()


# Of an object in a view: in the room's frame, in the hand's frame, and held.
PLACE, UNSURE, HEADING, SAY = slice(0, 3), 3, slice(4, 6), 6
HELD, HELD_SAY = 14, 15


def read_of(
    places: list[float], unsure: list[float], gripper_unsure: float = LOG_MOST
) -> torch.Tensor:
    """Answers (1, V, n, READ) of views that say `places` for each coordinate in the room's frame,
    as unsure as given, and something in the hand's frame."""
    read = torch.zeros(1, len(places), len(OBJECTS), READ)
    read[..., PLACE] = torch.tensor(places)[:, None, None]
    read[..., UNSURE] = torch.tensor(unsure)[:, None]
    read[..., IN_FRAME + UNSURE] = gripper_unsure
    return read


def fuse(read: torch.Tensor, usable: list[bool], tokens: ObjectTokens | None = None):
    """What is made of it, (n, 7)."""
    fused, _ = (tokens or make_tokens())._fuse(read, torch.tensor([usable]), states(1))
    return fused[0]


def test_the_estimate_reaches_the_actions():
    model, given = make_model(WITH_OBJECTS), inputs()
    views, present = model.visual(given["frames"], given["mask"])
    rest = (given["mask"], given["language"], given["language_mask"], given["state"])
    estimate = model.object_tokens.estimate(views, present, given["state"])
    moved = estimate._replace(objects=estimate.objects + 1.0)
    noise = torch.randn(1, CONFIG.chunk_size, CONFIG.max_action_dim)
    actions = [
        model.sample(model.read(views, present, *rest, estimate=given_estimate), noise)
        for given_estimate in (None, estimate, moved)
    ]
    assert torch.equal(actions[0], actions[1])
    assert not torch.allclose(actions[0], actions[2])


@pytest.mark.parametrize("garbage", [7.0, torch.inf, torch.nan])
def test_a_view_that_is_not_there_has_no_say_to_the_last_bit(garbage):
    tokens, views, state = make_tokens(), view_tokens(2), states(2)
    present = torch.tensor([[True, False], [True, True]])
    other = views.clone()
    other[0, 1] = garbage
    one, two = (tokens.estimate(seen, present, state) for seen in (views, other))
    for name in ("objects", "gripper", "seen"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
        assert getattr(two, name).isfinite().all(), name
    assert torch.equal(tokens(one, state), tokens(two, state))


def test_without_any_view_the_numbers_are_finite():
    tokens, state = make_tokens(), states(1)
    views = torch.zeros(1, 2, CONFIG.tokens_per_view, CONFIG.text.hidden_size)
    estimate = tokens.estimate(views, torch.zeros(1, 2, dtype=torch.bool), state)
    assert tokens(estimate, state).isfinite().all() and estimate.objects.isfinite().all()


def test_a_view_that_is_surer_has_more_say():
    alike = fuse(read_of([0.0, 1.0], [-1.0, -1.0]), [True, True])[0]
    surer = fuse(read_of([0.0, 1.0], [-1.0, -2.0]), [True, True])[0]
    surest = fuse(read_of([0.0, 1.0], [-1.0, LOG_LEAST]), [True, True])[0]
    assert (alike[:3] < surer[:3]).all() and (surer[:3] < surest[:3]).all()
    # Two that agree on how much they know, know more than each of them.
    assert surest[6] < surer[6] < alike[6] < -1.0
    torch.testing.assert_close(surest[:3], torch.ones(3), atol=0.02, rtol=0)


def test_what_is_only_seen_from_the_hand_is_told_in_the_room():
    """The view's place in the room's frame is a guess, its place for the hand is not."""
    read = read_of([5.0], [LOG_MOST], gripper_unsure=LOG_LEAST)
    read[..., IN_FRAME : IN_FRAME + 3] = torch.tensor([0.3, -0.1, 0.2])
    pose = states(1)[0, -12:]
    expected = pose[:3] + pose[3:].view(3, 3) @ torch.tensor([0.3, -0.1, 0.2])
    torch.testing.assert_close(fuse(read, [True])[0, :3], expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("column", "symmetry"), enumerate(SYMMETRIES))
def test_a_heading_seen_from_the_hand_turns_with_it(column, symmetry):
    """Along the direction in which the fingers close, for something of that symmetry."""
    read = read_of([0.0], [0.0])
    read[..., IN_FRAME + 4] = 1.0  # the angle 0
    read[..., IN_FRAME + SAY] = 30.0  # and nothing else is heard
    tokens = make_tokens()
    tokens.symmetry.data[:, column] = 30.0
    closing = states(1)[0, -9:].view(3, 3)[:, 2]
    angle = symmetry * torch.atan2(closing[1], closing[0])
    expected = torch.stack((angle.cos(), angle.sin()))
    found = fuse(read, [True], tokens)[:, 3:5]
    torch.testing.assert_close(found, expected.expand(2, 2), atol=1e-5, rtol=0)


def test_what_a_lost_view_answers_is_not_heard():
    read = read_of([0.5, 9.0], [0.0, LOG_LEAST])
    for column in (HEADING, SAY, HELD, HELD_SAY):  # however loudly it says so
        read[0, 1, :, column] = 9.0
    other = read_of([0.5, -9.0], [0.0, LOG_MOST])
    assert torch.equal(fuse(read, [True, False]), fuse(other, [True, False]))
    both, its_own = fuse(read, [True, True]), fuse(other, [True, True])
    assert ((both - its_own).abs() > 0.1).all()


def test_what_else_was_seen_says_nothing_before_it_is_learnt():
    """A hand that was told scenes, without `seen`, is not disturbed by eyes that give it."""
    tokens, state = make_tokens(), states(2)
    estimate = tokens.estimate(view_tokens(2), torch.ones(2, 2, dtype=torch.bool), state)
    assert estimate.seen is not None and estimate.seen.abs().max() > 0.1
    told = tokens(estimate._replace(seen=None), state)
    assert torch.equal(tokens(estimate, state), told)
    tokens(estimate, state).square().sum().backward()
    assert tokens.write_seen.weight.grad.abs().max() > 0


def test_the_tokens_tell_where_things_are_for_the_hand():
    """The same scene, another pose of the hand: other tokens of the objects."""
    tokens, state = make_tokens(), states(2)
    estimate = tokens.estimate(view_tokens(2), torch.ones(2, 2, dtype=torch.bool), state)
    alike = estimate._replace(objects=estimate.objects[:1].expand(2, -1, -1), seen=None)
    one, two = tokens(alike, state)
    assert not torch.allclose(one[0], two[0])


@torch.no_grad()
def test_without_view_tokens_the_language_model_reads_objects_alone():
    given = inputs(2)
    told = make_model(dataclasses.replace(WITH_OBJECTS, view_tokens=False))
    whole = make_model(WITH_OBJECTS)
    language, objects = given["language"].shape[1], len(OBJECTS) + 1
    # Availability and state are a token each.
    assert told.prefix(**given).mask.shape == (2, language + objects + 2)
    views = 2 * CONFIG.tokens_per_view
    assert whole.prefix(**given).mask.shape == (2, views + language + objects + 2)


@torch.no_grad()
def test_without_view_tokens_pictures_are_read_as_if_they_were_told():
    """Eyes that are joined to a hand, and a hand that was told: one and the same prefix."""
    model, given = make_model(dataclasses.replace(WITH_OBJECTS, view_tokens=False)), inputs(2)
    views, present = model.visual(given["frames"], given["mask"])
    estimate = model.object_tokens.estimate(views, present, given["state"])
    rest = given["mask"], given["language"], given["language_mask"], given["state"]
    seen = model.read(views, present, *rest)
    told = model.read(views[:, :, :0], present, *rest, estimate=estimate)
    for one, two in zip(seen.cache, told.cache, strict=True):
        torch.testing.assert_close(one, two)


def test_the_instruction_says_what_the_objects_are_and_not_where_the_gripper_is():
    torch.manual_seed(0)
    instructed = ObjectTokens(dataclasses.replace(WITH_OBJECTS, instructed=True), KINEMATICS)
    views, present, state = view_tokens(2), torch.ones(2, 2, dtype=torch.bool), states(2)
    words, there = torch.tensor([[3, 4, 5], [3, 4, 9]]), torch.tensor([[True, True, False]] * 2)

    def estimate(words, there):
        return instructed.estimate(views, present, state, words, there)

    one, two = estimate(words, there), estimate(words + 1, there)
    assert (one.objects != two.objects).any(dim=-1).all()
    assert torch.equal(one.gripper, two.gripper)
    # What pads an instruction is not read.
    padded = estimate(words, torch.tensor([[True, True, False]] * 2))
    other = estimate(torch.tensor([[3, 4, 7], [3, 4, 8]]), there)
    assert torch.equal(padded.objects, other.objects)
    with pytest.raises(ValueError, match="need the instruction"):
        instructed.estimate(views, present, state)
