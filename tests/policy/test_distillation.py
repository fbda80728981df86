"""Stage 1: tokens compared one by one in direction and in length."""

import math

import pytest
import torch

from multismolvla.policy.distillation import distillation_loss

PRESENT = torch.tensor([[True, True], [True, False]])


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 2, 5, 16, generator=torch.Generator().manual_seed(seed))


def test_equal_tokens_cost_nothing():
    loss = distillation_loss(tokens(), tokens(), PRESENT)
    assert loss.direction.item() == pytest.approx(0.0, abs=1e-6)
    assert loss.norm.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_length_moves_only_the_norm_term_and_twice_costs_as_much_as_half(scale):
    loss = distillation_loss(scale * tokens(), tokens(), PRESENT)
    assert loss.direction.item() == pytest.approx(0.0, abs=1e-6)
    assert loss.norm.item() == pytest.approx(math.log(2.0) ** 2, rel=1e-4)


@pytest.mark.parametrize(("turn", "cost"), [(0.0, 0.0), (90.0, 1.0), (180.0, 2.0)])
def test_direction_moves_only_the_direction_term(turn, cost):
    angle = math.radians(turn)
    teacher = torch.tensor([1.0, 0.0]).expand(1, 1, 3, 2)
    student = torch.tensor([math.cos(angle), math.sin(angle)]).expand(1, 1, 3, 2)
    loss = distillation_loss(student, teacher, torch.ones(1, 1, dtype=torch.bool))
    assert loss.direction.item() == pytest.approx(cost, abs=1e-6)
    assert loss.norm.item() == pytest.approx(0.0, abs=1e-6)


def test_tokens_right_on_average_and_wrong_each_are_penalised():
    teacher = tokens()
    swapped = teacher.roll(1, dims=2)
    torch.testing.assert_close(swapped.mean(dim=2), teacher.mean(dim=2))
    assert distillation_loss(swapped, teacher, PRESENT).direction > 0.5

    spread = 1.0 + 0.9 * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    same = torch.ones(1, 1, 4, 16)
    torch.testing.assert_close((spread * same).mean(dim=2), same.mean(dim=2))
    assert distillation_loss(spread * same, same, torch.ones(1, 1, dtype=torch.bool)).norm > 0.5


def test_absent_tokens_neither_count_nor_train():
    student, teacher = tokens(1), tokens(2)
    expected = distillation_loss(student, teacher, PRESENT)
    student[1, 1], teacher[1, 1] = torch.nan, torch.nan
    student.requires_grad_()
    loss = distillation_loss(student, teacher, PRESENT)
    assert loss == expected
    sum(loss).backward()
    assert not student.grad[1, 1].any()
    assert student.grad[PRESENT].abs().sum(dim=-1).all()


def test_presence_can_be_told_per_token():
    student, teacher = tokens(1), tokens(2)
    per_token = PRESENT[..., None].expand(2, 2, 5).clone()
    assert distillation_loss(student, teacher, per_token) == distillation_loss(
        student, teacher, PRESENT
    )
    per_token[0, 0, 1:] = False
    assert distillation_loss(student, teacher, per_token) != distillation_loss(
        student, teacher, PRESENT
    )


def test_a_dead_student_still_gets_a_finite_gradient():
    student = torch.zeros(2, 2, 5, 16, requires_grad=True)
    loss = distillation_loss(student, tokens(), PRESENT)
    sum(loss).backward()
    assert all(term.isfinite() for term in loss) and student.grad.isfinite().all()


def test_nothing_present_costs_nothing():
    student = tokens().requires_grad_()
    loss = distillation_loss(student, tokens(1), torch.zeros_like(PRESENT))
    sum(loss).backward()
    assert loss == (0.0, 0.0) and not student.grad.any()


def test_the_teacher_is_not_trained():
    student, teacher = tokens(1).requires_grad_(), tokens(2).requires_grad_()
    sum(distillation_loss(student, teacher, PRESENT)).backward()
    assert teacher.grad is None and student.grad.any()


@pytest.mark.parametrize("present", [PRESENT.T[:1], torch.ones(2, 2, 5, 16, dtype=torch.bool)])
def test_a_mask_that_does_not_fit_is_refused(present):
    with pytest.raises(ValueError, match="present is"):
        distillation_loss(tokens(), tokens(), present)


def test_tokens_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="expected the same"):
        distillation_loss(tokens(), tokens()[:, :, :4], PRESENT)
