"""Learning from a teacher's answers beside the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def distillation_terms(
    student_output: Tensor, teacher_output: Tensor, *, temperature: float, weight: float
) -> dict[str, Tensor]:
    """The Kullback-Leibler divergence of the student from the teacher, both softened.

    ``weight * T**2 * KL(softmax(teacher / T) || softmax(student / T))``, averaged over the batch; T**2 keeps
    the gradient's size whatever T is.

    Args:
        student_output: logits.
        teacher_output: logits of the same classes in the same order; no gradient flows into them.
        temperature: T, above 0; 1 compares the plain probabilities.
        weight: of the term, [0, 1]; the labels get the rest, see :func:`with_teacher`.

    Shape:
        student_output, teacher_output: (B, K).

    Raises:
        ValueError: the shapes differ, or a number is out of range.

    Source:
        Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    if student_output.shape != teacher_output.shape or student_output.ndim != 2:
        raise ValueError(
            f"--teacher compares class logits of one shape (B, K), got {tuple(student_output.shape)} of the "
            f"student and {tuple(teacher_output.shape)} of the teacher"
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(f"--teacher-temperature must be above 0, got {temperature}")
    if not 0 <= weight <= 1:
        raise ValueError(f"--teacher-weight must be 0 to 1, got {weight}")
    student = F.log_softmax(student_output.float() / temperature, dim=1)
    teacher = F.log_softmax(teacher_output.detach().float() / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return {"distillation": weight * temperature**2 * divergence}


def with_teacher(
    terms: Mapping[str, Tensor], student_output: Tensor, teacher_output: Tensor, *, temperature: float,
    weight: float,
) -> dict[str, Tensor]:
    """The labels' terms at ``1 - weight`` beside :func:`distillation_terms` at ``weight``."""
    soft = distillation_terms(student_output, teacher_output, temperature=temperature, weight=weight)
    return {name: (1 - weight) * term for name, term in terms.items()} | soft


class Teacher:
    """A finished classifier that answers for images prepared for another network.

    It is frozen and stays in evaluation mode. The images are the student's, distortions and mixing
    included: they are resized (bilinear, antialiased) to the teacher's resolution, and its backbone
    normalises them in its own way. Where the student's crops are smaller they are blown up, which shows
    the teacher less than it could see; its answers come in the student's order of classes.

    Args:
        network: images in [0, 1] -> (B, K) logits.
        classes: the teacher's, in the order of its outputs.
        wanted: the student's, in the order of its outputs.
        resolution: side in px that the teacher was trained or evaluated at.
        name: of the teacher, for messages.

    Raises:
        ValueError: the classes are not the same set.
    """

    def __init__(
        self, network: nn.Module, *, classes: Sequence[str], wanted: Sequence[str], resolution: int,
        name: str = "the teacher",
    ) -> None:
        if len(classes) != len(wanted) or set(classes) != set(wanted):
            raise ValueError(
                f"--teacher {name} knows {_listed(classes, wanted)}, but the data has "
                f"{_listed(wanted, classes)}; give a teacher of the same classes"
            )
        self.network = network.eval().requires_grad_(False)
        self.resolution = resolution
        places = {class_name: n for n, class_name in enumerate(classes)}
        self.order = torch.tensor([places[item] for item in wanted])

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits in the student's order of classes.

        Shape:
            images: (B, 3, H, W) in [0, 1].
            returns: (B, K).
        """
        size = (self.resolution, self.resolution)
        if images.shape[2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        self.network.eval()
        logits: Tensor = self.network(images)
        return logits[:, self.order.to(logits.device)]


def load_teacher(run: Path, *, classes: Sequence[str], dtype: torch.dtype = torch.float32) -> Teacher:
    """The teacher in a finished run's folder.

    Args:
        run: the folder that ``finetune`` wrote.
        classes: the student's, in order.
        dtype: in which its backbone computes.

    Raises:
        FileNotFoundError: the run or a file of it is missing.
        ValueError: it is damaged, of other classes, or no classifier.
    """
    from apps.engine.core.model import SingleHead, load_run
    from heads import Classifier

    task, model, config = load_run(run)
    head = model.heads[task.name]
    if not isinstance(head, Classifier):
        raise ValueError(f"--teacher {run} answers by {type(head).__name__}, not by one class a photo")
    model.backbone_dtype = dtype
    return Teacher(
        SingleHead(model, task.name), classes=config.classes, wanted=classes,
        resolution=config.backbone.preprocessing.resolution, name=str(run),
    )


def _listed(classes: Sequence[str], others: Sequence[str]) -> str:
    """How many classes, and first those that the others lack."""
    custom = sorted(set(classes) - set(others)) or sorted(classes)
    return f"{len(classes)} classes ({', '.join(custom[:3])}{', ...' if len(custom) > 3 else ''})"
