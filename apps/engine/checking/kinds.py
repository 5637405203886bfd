"""The kinds of problems, in words for a page."""

from __future__ import annotations

WORDS = {
    "refused": "A split that cannot be read; the line says how to mend it.",
    "unreadable_images": "Files that cannot be read as images; a training leaves them out.",
    "odd_images": "Images that are tiny, a strip, or of one colour.",
    "wrong_suffix": "Files whose name says another format than their content does, which they are read by.",
    "duplicates": "The same file twice in one split.",
    "leaks": "The same file in two splits: the evaluation flatters.",
    "near_duplicates": "Nearly the same picture twice in one split: cut, resized or compressed again.",
    "near_leaks": "Nearly the same picture in two splits: the evaluation flatters.",
    "conflicting_copies": "Copies of one picture with different classes.",
    "small_classes": "Classes with few training images.",
    "missing_classes": "Classes without an image in a split.",
    "similar_class_names": "Classes whose names differ by case or blanks alone.",
    "likely_wrong_labels": "Images that look like another class to a probe that learned from the others.",
    "boxes_outside": "Boxes that reach out of their image or have no area; readers cut or drop them.",
    "boxes_swapped": "Boxes with right of left or bottom of top: corners in the wrong order, or sides for "
                     "corners.",
    "boxes_tiny": "Boxes of less than 4 pixels a side.",
    "boxes_duplicate": "The same box twice on one image.",
    "boxes_units": "Boxes that seem to be in other units: shares for pixels, corners for sides.",
    "size_mismatch": "Images whose annotated size is not that of the file.",
    "missing_label_files": "Images without a file of labels: they are learned as showing nothing.",
    "labels_without_image": "Files of labels without an image.",
    "boxes_likely_missing": "Objects that a detector sees and nobody marked.",
    "boxes_likely_misplaced": "Boxes that lie beside what a detector sees.",
    "boxes_likely_wrong_class": "Boxes on which a detector sees another class.",
    "mixed_folders": "Folders that seem to hold several people.",
    "split_people": "People that seem to be in two folders.",
    "impossible_positions": "Positions that are none on the globe, or unknown.",
    "swapped_positions": "Latitude and longitude in each other's place.",
    "crowded_positions": "Many photos on exactly one point, such as the middle of a town or a default.",
    "contradicting_attributes": "Values that contradict what is so everywhere else.",
    "contradicting_people": "Photos of a person whose lasting attribute differs from the person's others.",
}


def title_of(kind: str) -> str:
    """The kind as a heading."""
    return kind.replace("_", " ").capitalize()


def words_of(kind: str) -> str:
    """A sentence on the kind; empty for one of another package."""
    return WORDS.get(kind, "")
