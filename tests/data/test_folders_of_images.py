"""What a folder is taken to hold, and each way in which it can be laid out wrongly."""

import os
import unicodedata
from pathlib import Path

import pytest

from zoo.config import build
from zoo.data import open_splits
from zoo.data.sources.class_folders.listing import find_files, list_folder
from zoo.errors import DataError
from zoo.types import Kind


def open_folder(root, **options):
    return open_splits(build({"data": str(root), **options}))


def refused(root, match, **options):
    """Assert that the folder is refused in one line which names it."""
    with pytest.raises(DataError, match=match) as caught:
        open_folder(root, **options)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_class_folders(make_folder):
    listing = list_folder(make_folder({"dog": 2, "cat/indoors/sofa": 1, "cat": 1}))
    assert listing.parts == {"all": {"cat": ["cat/0.png", "cat/indoors/sofa/0.png"], "dog": ["dog/0.png", "dog/1.png"]}}


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "VALID", "Test"), ("TRAIN", "validation", "tESt")])
def test_split_folders(make_folder, names):
    counts = {f"{split}/{one}": 1 for split in names for one in ("a", "b")}
    listing = list_folder(make_folder(counts))
    assert list(listing.parts) == ["train", "val", "test"]
    assert listing.parts["val"] == {"a": [f"{names[1]}/a/0.png"], "b": [f"{names[1]}/b/0.png"]}


def test_a_class_may_be_called_like_a_split(make_folder):
    assert list(list_folder(make_folder({"train": 1, "plane": 1})).parts["all"]) == ["plane", "train"]


def test_classes_and_files_in_natural_order(make_folder):
    root = make_folder({str(number): 12 for number in (10, 0, 2, 1)})
    assert open_folder(root).labels.names == ("0", "1", "2", "10")
    assert [name.split("/")[1] for name in list_folder(root).parts["all"]["2"]] == [f"{number}.png" for number in range(12)]


def test_equal_natural_names_have_one_order(make_folder):
    root = make_folder({"a": 2, "b": 1})
    (root / "a/0.png").rename(root / "a/01.png")
    assert list_folder(root).parts["all"]["a"] == ["a/01.png", "a/1.png"]


def test_hidden_and_metadata_names_are_passed_over(make_folder):
    root = make_folder({"cat": 5, "dog": 5, ".ipynb_checkpoints": 1, "__MACOSX/cat": 1, "cat/.thumbs": 1})
    (root / "cat/._0.png").write_bytes(b"\0\5\x16\7")
    splits = open_folder(root)
    assert splits.labels.names == ("cat", "dog")
    assert sum(map(len, splits.parts().values())) == 10
    assert splits.facts.ignored == 0


def test_other_files_are_ignored_and_said(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    (root / "cat/notes.txt").write_text("x")
    (root / "labels.csv").write_text("x")
    facts = open_folder(root).facts
    assert facts.ignored == 2
    assert any("2 files are not images of a class" in line and "labels.csv" in line for line in facts.lines())


def test_a_linked_split_and_a_linked_class_are_read(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    (root.parent / "parts").mkdir()
    for split in ("train", "val"):
        (root.parent / "parts" / split).mkdir()
    (root / "cat").rename(root.parent / "parts/train/cat")
    (root / "dog").rename(root.parent / "parts/train/dog")
    (root.parent / "parts/val/cat").symlink_to("../train/cat")
    (root / "train").symlink_to(root.parent / "parts/train")
    (root / "val").symlink_to(root.parent / "parts/val")
    listing = list_folder(root)
    assert {part: {name: len(inside) for name, inside in found.items()} for part, found in listing.parts.items()} == {
        "train": {"cat": 5, "dog": 5},
        "val": {"cat": 5},
    }
    assert listing.links == []


def test_links_that_lead_to_each_other_end(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    (root / "cat/dogs").symlink_to(root / "dog")
    (root / "dog/cats").symlink_to(root / "cat")
    assert list_folder(root).links == ["cat/dogs/cats", "dog/cats/dogs"]


def test_an_ignored_file_whose_name_is_not_utf_8_is_named_in_characters(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.txt")).write_text("x")
    (line,) = [line for line in open_folder(root).facts.lines() if "are not images" in line]
    assert r"caf\udce9.txt" in line.encode().decode()


def test_links_that_lead_back_are_not_followed(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    (root / "cat/again").symlink_to(root)
    (root / "cat/round").symlink_to(root / "cat/round")
    splits = open_folder(root)
    assert sum(map(len, splits.parts().values())) == 10
    assert any("links to folders that lead back are not followed: cat/again" in line for line in splits.facts.lines())


def test_camera_raw_files_beside_their_image_are_left_out_by_name(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    for name in ("cat/0.CR2", "cat/1.dng", "dog/4.nef"):
        (root / name).write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(100))
    splits = open_folder(root)
    assert sum(map(len, splits.parts().values())) == 10
    (line,) = [line for line in splits.facts.lines() if "camera raw" in line]
    assert line == (
        "3 camera raw files lie beside an image of their name, which is read in their place: cat/0.CR2; cat/1.dng; dog/4.nef"
    )
    (root / "dog/alone.nef").write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(100))
    refused(root, "dog/alone.nef: a camera raw file; develop it to JPEG or TIFF")


def test_a_linked_file_is_read(make_folder):
    root = make_folder({"cat": 2, "dog": 3})
    original = root.parent / "elsewhere.png"
    (root / "cat/1.png").rename(original)
    (root / "cat/1.png").symlink_to(original)
    assert sum(open_folder(root).facts.counts["train"].values()) >= 2


def test_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", r"no such folder; expected a folder \(DIR/<class>")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "not data that can be read")


def test_no_class_folders(make_folder, tmp_path):
    (tmp_path / "bare").mkdir()
    refused(tmp_path / "bare", "no class folders; expected DIR/<class>")
    refused(make_folder({".": 3}), "3 images but no class folders; expected DIR/<class>")


def test_one_class(make_folder):
    refused(make_folder({"cat": 3}), r"one class only \(cat\); at least two")
    refused(make_folder({"train/cat": 3, "val/cat": 1}, "split"), "one class only")


def test_class_without_pictures(make_folder):
    root = make_folder({"cat": 3, "dog": 3, "fish": 0})
    (root / "fish/readme.txt").write_text("x")
    refused(root, "no images of the class fish")
    refused(make_folder({"train/cat": 3, "train/dog": 0, "val/cat": 1}, "split"), "train: no images of the class dog")


def test_class_of_which_nothing_can_be_read(make_folder):
    root = make_folder({"cat": 30, "dog": 1})
    (root / "dog/0.png").write_bytes(b"")
    refused(root, "no images of the class dog can be read: dog/0.png: an empty file", max_unreadable=0.5)


def test_validation_class_unseen_in_train(make_folder):
    root = make_folder({"train/cat": 3, "train/dog": 3, "val/cat": 1, "val/dogs": 1})
    refused(root, "val: train has no class 'dogs'; did you mean 'dog'")


def test_train_folder_missing(make_folder):
    refused(make_folder({"val/cat": 3, "test/cat": 3}), "no train folder")


def test_splits_beside_classes(make_folder):
    refused(make_folder({"train/a": 1, "val/a": 1, "cat": 1}), r"split folders beside other folders \(cat\)")


def test_two_folders_for_one_split(make_folder):
    refused(make_folder({"train/a": 1, "train/b": 1, "val/a": 1, "valid/a": 1}), "val and valid both mean val")


def test_class_names_are_normalised_and_two_forms_are_an_error(make_folder):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = make_folder({decomposed: 4, "tea": 4})
    assert open_folder(root).labels.names == (composed, "tea")
    make_folder({composed: 1})
    refused(root, "different Unicode forms")


def test_class_names_that_differ_in_case_are_warned_of(make_folder):
    notices = open_folder(make_folder({"Cat": 4, "cat": 4, "dog": 4})).facts.notices
    assert any("'Cat' and 'cat' differ in case" in line for line in notices)


def test_class_name_that_is_not_utf8(make_folder):
    root = make_folder({"cat": 3, "dog": 3})
    (root / "dog").rename(root / "d\udcffg")
    refused(root, "not UTF-8")


def test_file_name_that_is_not_utf8(make_folder):
    root = make_folder({"cat": 3, "dog": 3})
    (root / "cat/0.png").rename(root / "cat/\udcff.png")
    splits = open_folder(root)
    assert sum(map(len, splits.parts().values())) == 6
    for pictures in splits.parts().values():
        assert all(pictures.item(index).size == (10, 12) for index in range(len(pictures)))


def test_find_files(make_folder):
    root = make_folder({"a": 11, "a/deep": 1, ".hidden": 1, "b": 1})
    (root / "a/notes.txt").touch()
    found = find_files([str(root / "b/0.png"), root / "a"], Kind.IMAGE)
    inside = [*(f"{number}.png" for number in range(11)), "deep/0.png"]
    assert found == [str(root / "b/0.png"), *(str(root / "a" / name) for name in inside)]


def test_find_files_takes_a_named_file_whatever_its_ending(tmp_path):
    (tmp_path / "picture").touch()
    assert find_files([tmp_path / "picture"], Kind.IMAGE) == [str(tmp_path / "picture")]


def test_find_files_refuses_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        find_files([tmp_path / "nowhere"], Kind.IMAGE)
    with pytest.raises(DataError, match="no images in this folder"):
        find_files([tmp_path], Kind.IMAGE)
