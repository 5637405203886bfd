"""Names of class folders, and how a folder finds its class in a checkpoint."""

from __future__ import annotations

import pytest

from datasets.classification.wordnet import class_name, class_names, folder_ids, match_classes


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("n02111889-Samoyed", "Samoyed"),
        ("n02086240-Shih-Tzu", "Shih-Tzu"),
        ("n02105641-Old_English_sheepdog", "Old English sheepdog"),
        ("n02111889", "Samoyed"),  # WordNet says "Samoyed, Samoyede"
        ("n02105641", "Old English sheepdog"),
        ("n99999999", "n99999999"),
        ("my_dog", "my_dog"),
        ("n0211188", "n0211188"),
        ("n02111889_Samoyed", "n02111889_Samoyed"),
    ],
)
def test_a_class_folder_is_shown_by_its_name(folder: str, name: str) -> None:
    assert class_name(folder) == name


def test_a_bird_and_a_machine_both_called_crane_stay_two_classes() -> None:
    folders = ["n02012849", "n03126707", "n02111889"]
    assert class_names(folders) == ("crane (n02012849)", "crane (n03126707)", "Samoyed")


def test_names_are_unique_even_where_numbers_repeat() -> None:
    assert len(set(class_names(["n00000001-a_b", "n00000001-a b"]))) == 2


def test_folders_find_their_classes_by_folder_name_or_by_shown_name() -> None:
    folders = ["n02111889", "n02086240-Shih-Tzu", "wolf"]
    assert match_classes(folders, ["Wolf", "Shih-Tzu", "pug", "samoyed"], "x") == [3, 1, 0]
    assert match_classes(folders, ["n02086240-Shih-Tzu", "n02111889", "wolf"], "x") == [1, 0, 2]


def test_the_same_letters_in_the_same_case_win() -> None:
    assert match_classes(["Pug", "pug"], ["pug", "Pug"], "x") == [1, 0]


def test_a_folder_without_a_class_is_named() -> None:
    with pytest.raises(ValueError, match="'cat' is not among the 2 classes of the checkpoint"):
        match_classes(["pug", "cat"], ["pug", "wolf"], "the checkpoint")


def test_two_folders_for_one_class_are_an_error_and_not_a_silent_merge() -> None:
    with pytest.raises(ValueError, match="'n02111889' and 'n02111889-Samoyed' are both 'Samoyed'"):
        match_classes(["n02111889", "n02111889-Samoyed"], ["Samoyed", "pug"], "the checkpoint")


def test_a_class_without_a_folder_keeps_its_name_as_id() -> None:
    assert folder_ids(["n02111889"], [1], ["pug", "Samoyed"]) == ("pug", "n02111889")
