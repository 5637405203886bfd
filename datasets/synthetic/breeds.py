"""The ten invented breeds: combinations of fine parts, none of which tells a breed on its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Breed:
    """What makes a breed; everything else about a drawing is chance.

    Args:
        name: invented, in words.
        ear: upright, bat, drop, folded or rose.
        muzzle: short, medium or long.
        coat: smooth, wavy, wiry or shaggy.
        marking: plain, spots, saddle or mask.
        tail: straight, curled, docked or plumed.
        legs: short, medium or long.
    """

    name: str
    ear: str
    muzzle: str
    coat: str
    marking: str
    tail: str
    legs: str

    @property
    def folder(self) -> str:
        """The name as a folder is called: ``dotted_fenhound``."""
        return self.name.lower().replace(" ", "_")

    @property
    def parts(self) -> tuple[str, ...]:
        """The six attributes, in the order of the fields."""
        return self.ear, self.muzzle, self.coat, self.marking, self.tail, self.legs


# In the order of their folders, so that the place in this tuple is the label.
# Any two differ in three parts or more; no value of a part belongs to one breed only.
BREEDS = (
    Breed("Brindlemoor Pointer", "drop", "long", "smooth", "saddle", "straight", "long"),
    Breed("Crumpet Terrier", "folded", "medium", "wiry", "saddle", "docked", "short"),
    Breed("Dotted Fenhound", "drop", "long", "smooth", "spots", "docked", "medium"),
    Breed("Gravelback Spitz", "upright", "medium", "shaggy", "saddle", "curled", "medium"),
    Breed("Lanternface Puglet", "rose", "short", "smooth", "mask", "curled", "short"),
    Breed("Moppet Drover", "folded", "medium", "shaggy", "plain", "docked", "long"),
    Breed("Quillcoat Lurcher", "rose", "long", "wiry", "plain", "straight", "long"),
    Breed("Ripple Bumblehound", "bat", "short", "wavy", "spots", "curled", "short"),
    Breed("Tidewater Barkhund", "upright", "long", "wavy", "mask", "plumed", "long"),
    Breed("Vesper Batling", "bat", "short", "smooth", "plain", "plumed", "medium"),
)


def breed_of(which: int | str | Breed) -> Breed:
    """The breed of an index, a name or a folder's name.

    Raises:
        ValueError: there is no such breed.
    """
    if isinstance(which, Breed):
        return which
    if isinstance(which, str):
        for breed in BREEDS:
            if which in (breed.name, breed.folder):
                return breed
    elif 0 <= which < len(BREEDS):
        return BREEDS[which]
    names = ", ".join(breed.folder for breed in BREEDS)
    raise ValueError(f"no drawn breed {which!r}; take 0 to {len(BREEDS) - 1} or one of {names}")
