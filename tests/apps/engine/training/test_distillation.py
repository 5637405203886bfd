"""A teacher's answers beside the labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from apps.engine.core.model import load_run
from apps.engine.training.distillation import Teacher, distillation_terms, load_teacher, with_teacher

pytestmark = pytest.mark.computes


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_term_is_hintons_divergence_written_out(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 5), torch.randn(3, 5)
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        q, p = torch.softmax(s / temperature, 0), torch.softmax(t / temperature, 0)
        total += sum((p[k] * (p[k] / q[k]).log()).item() for k in range(5))
    terms = distillation_terms(student, teacher, temperature=temperature, weight=0.7)
    assert terms.keys() == {"distillation"}
    assert terms["distillation"].item() == pytest.approx(0.7 * temperature**2 * total / 3, rel=1e-5)


def test_the_gradient_goes_to_the_student_alone_and_keeps_its_size_at_any_temperature() -> None:
    torch.manual_seed(0)
    start, teacher = 0.1 * torch.randn(4, 6), (0.1 * torch.randn(4, 6)).requires_grad_()
    sizes = []
    for temperature in (2.0, 20.0):
        student = start.clone().requires_grad_()
        term = distillation_terms(student, teacher, temperature=temperature, weight=1.0)
        term["distillation"].backward()  # type: ignore[no-untyped-call]
        assert student.grad is not None
        sizes.append(student.grad.norm().item())
    assert teacher.grad is None
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_labels_and_teacher_share_the_loss() -> None:
    student, teacher = torch.randn(3, 5), torch.randn(3, 5)
    soft = distillation_terms(student, teacher, temperature=2.0, weight=0.25)["distillation"]
    terms = with_teacher(
        {"cross_entropy": torch.tensor(4.0)}, student, teacher, temperature=2.0, weight=0.25
    )
    assert terms["cross_entropy"].item() == pytest.approx(3.0)
    assert terms["distillation"] == soft


@pytest.mark.parametrize(("teacher", "temperature", "weight", "message"), [
    (torch.zeros(3, 4), 1.0, 0.5, r"got \(3, 5\) of the student and \(3, 4\) of the teacher"),
    (torch.zeros(3, 5), 0.0, 0.5, "--teacher-temperature must be above 0, got 0.0"),
    (torch.zeros(3, 5), float("nan"), 0.5, "--teacher-temperature must be above 0, got nan"),
    (torch.zeros(3, 5), 1.0, 1.5, "--teacher-weight must be 0 to 1, got 1.5"),
])
def test_terms_that_make_no_sense_are_refused(
    teacher: Tensor, temperature: float, weight: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        distillation_terms(torch.zeros(3, 5), teacher, temperature=temperature, weight=weight)


class Shows(nn.Module):
    """Answers with the mean of each colour, and keeps the size that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.seen: tuple[int, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        self.seen = tuple(images.shape)
        out: Tensor = self.norm(images).mean((2, 3))
        return out


def test_the_teacher_sees_photos_at_its_own_resolution_and_answers_in_the_students_order() -> None:
    network = Shows()
    wanted = ["blue", "red", "green"]
    teacher = Teacher(network, classes=["red", "green", "blue"], wanted=wanted, resolution=48)
    images = torch.rand(2, 3, 64, 64)
    answer = teacher(images)
    assert network.seen == (2, 3, 48, 48)
    means = images.mean((2, 3))[:, [2, 0, 1]]
    torch.testing.assert_close(answer, means, atol=0.02, rtol=0)
    assert not answer.requires_grad


def test_the_teacher_is_frozen_and_stays_in_evaluation_mode() -> None:
    network = Shows()
    teacher = Teacher(network, classes="abc", wanted="abc", resolution=32)
    network.train()  # somebody's loop over modules
    before = {name: value.clone() for name, value in network.state_dict().items()}
    teacher(torch.rand(4, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_students_loss_learns_from_a_teachers_answer() -> None:
    """Tensors of inference mode cannot be kept for the way back."""
    teacher = Teacher(Shows(), classes="abc", wanted="abc", resolution=32)
    student = torch.zeros(4, 3, requires_grad=True)
    terms = distillation_terms(student, teacher(torch.rand(4, 3, 32, 32)), temperature=2.0, weight=1.0)
    terms["distillation"].backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize(("classes", "message"), [
    (["cat", "cow"], r"knows 2 classes \(cow\), but the data has 2 classes \(dog\); give a teacher"),
    (["cat", "dog", "cow"], r"knows 3 classes \(cow\), but the data has 2 classes \(cat, dog\)"),
    (["cat"], r"knows 1 classes \(cat\), but the data has 2 classes \(dog\)"),
])
def test_a_teacher_of_other_classes_is_refused_naming_both(classes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Teacher(Shows(), classes=classes, wanted=["cat", "dog"], resolution=32, name="RUN")


def test_a_finished_run_teaches(colour_run: Path) -> None:
    _, model, config = load_run(colour_run)
    wanted = tuple(reversed(config.classes))
    teacher = load_teacher(colour_run, classes=wanted)
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = model(images)["dogs"].flip(1)
    torch.testing.assert_close(teacher(images), expected)
    assert teacher.resolution == 32
    with pytest.raises(ValueError, match=r"--teacher .*colours knows 3 classes .*green"):
        load_teacher(colour_run, classes=("red", "blue", "violet"))
    with pytest.raises(FileNotFoundError, match="is missing"):
        load_teacher(colour_run / "nothing", classes=wanted)
