"""The kinds of head in one table: whatever differs from kind to kind is read here, and nowhere by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FEW, ALL = 5, 10**6  # classes or cells an image, and what a threshold limits


@dataclass(frozen=True)
class HeadKind:
    """What is done with the outputs of a kind of head.

    Args:
        name: as :class:`apps.engine.core.spec.HeadSpec` has it.
        decoder: ``module:function`` from outputs to answers, in numpy alone; a string, as an application's
            own is imported only where it is needed. Empty for a kind that is not read.
        limits: what a model card says that it is not for.
        use: what a model card says that it is for.
        classes: what a card calls its classes; empty for its name.
        ranked: answers are a list, the likeliest first, which ``--top`` cuts.
        top: how many of it where nobody says.
        views: outputs of several views of an image may be averaged: ``--tta``.
        unknown: answers may say that the image shows none of the classes.
        boxes: outputs are boxes, scores and labels, and each image has a number of them of its own.
        kept_as: the output's name where a single one is kept in a table; empty where it is kept alone.
        page: ``web/page/answers.js`` and ``render.js`` have it.
        map: the page draws a map of the earth for it.
        script: ``run.py`` has it.
        script_decoder: the decoder that goes into ``run.py``, where that is another one.
        why_not: why the page or ``run.py`` lacks it.
    """

    name: str
    decoder: str = ""
    limits: str = "Not described."
    use: str = "Not described."
    classes: str = ""
    ranked: bool = False
    top: int = FEW
    views: bool = False
    unknown: bool = False
    boxes: bool = False
    kept_as: str = ""
    page: bool = True
    map: bool = False
    script: bool = True
    script_decoder: str = ""
    why_not: str = ""

    def options(self, subject: Literal["images", "faces", "own"]) -> frozenset[str]:
        """The options of ``predict`` that a task of this kind takes, whose answers are of the subject."""
        takes = {
            "top": self.ranked, "tta": self.views, "crops": subject == "faces", "detector": subject == "faces"
        }
        return frozenset(option for option, has in takes.items() if has)


KINDS = {kind.name: kind for kind in (
    HeadKind(
        "classes", "apps.engine.inference.decode.classes:decode",
        "It names one of its classes for every photo, also for one that shows none of them; ",
        "To sort photos of things like those of its data by what they mainly show.",
        ranked=True, views=True, unknown=True,
    ),
    HeadKind(
        "attributes", "apps.attributes.decode:decode",
        "Attributes are guesses from a picture. They say nothing of who a person is, and must not be used "
        "to decide about people.",
        "To sort albums of people who agree, or to count roughly.",
    ),
    HeadKind(
        "cells", "apps.places.decode:decode",
        "Places are guesses from what is seen; a photo without a landmark may be placed on the wrong "
        "continent.",
        "To guess where a photo of one's own was taken, for a person who then looks.",
        ranked=True, kept_as="log_probabilities", map=True, script_decoder="apps.places.decode:decode_alone",
    ),
    HeadKind(
        "embedding", "apps.engine.inference.decode.embedding:decode",
        "Two faces that are close together need not be one person; error rates differ by group of people "
        "and by light, pose and age. Use it on people who know and agree.",
        "To find the photos of a person in albums of people who agree, for a person who then looks.",
    ),
    HeadKind(
        "detections", "apps.engine.inference.decode.boxes:decode",
        "Small, hidden or turned objects are missed; what is not among the classes is not seen.",
        "To find, count or cut out objects like those of its data.",
        classes="boxes", ranked=True, top=ALL, boxes=True,
    ),
)}


def kind_of(name: str) -> HeadKind:
    """The entry of a kind; for one of another package an entry that says no more than its name."""
    return KINDS.get(name) or HeadKind(name)
