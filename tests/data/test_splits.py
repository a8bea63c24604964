"""Who is in which split, what is said about it, and what is written down."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from zoo.config import build
from zoo.data import from_datasets, open_for_evaluation, open_splits, read_splits
from zoo.data.sets import DIGEST, ArraySet
from zoo.data.splits import set_aside
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.types import Labels


def open_folder(root, **options):
    return open_splits(build({"data": str(root), **options}))


def numbered(counts, *, shuffled=None):
    """Images of so many of each class, each with a digest of its own; in another order if `shuffled` is a generator."""
    targets = np.repeat(np.arange(len(counts)), counts)
    numbers = np.arange(len(targets))
    pictures = ArraySet(
        title="x",
        images=np.zeros((len(targets), 1, 1), np.uint8),
        numbers=numbers,
        targets=targets,
        digests=np.array([f"d{number}" for number in numbers], dtype=DIGEST),
    )
    return pictures if shuffled is None else pictures.subset(shuffled.permutation(len(targets)))


def names(pictures):
    return {pictures.name(index) for index in range(len(pictures))}


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_in_every_part_where_it_can_be(seed):
    counts = [1, 2, 3, 4, 7, 100, 1000]
    parts = set_aside(numbered(counts), {"val": 0.15, "test": 0.2}, seed)
    by_part = {part: np.bincount(pictures.targets, minlength=len(counts)).tolist() for part, pictures in parts.items()}
    assert [sum(column) for column in zip(*by_part.values(), strict=True)] == counts
    assert min(by_part["train"]) >= 1
    assert min(by_part["val"][2:]) >= 1
    assert min(by_part["test"][2:]) >= 1
    assert by_part["val"][5:] == [15, 150]
    assert by_part["test"][5:] == [20, 200]
    everything = [name for pictures in parts.values() for name in names(pictures)]
    assert len(everything) == len(set(everything)) == sum(counts)


def test_shares_that_leave_nothing_give_way():
    parts = set_aside(numbered([2, 3, 10]), {"val": 0.45, "test": 0.5}, 0)
    assert np.bincount(parts["train"].targets).tolist() == [1, 1, 1]


def test_the_split_depends_on_seed_and_names_alone():
    fractions = {"val": 0.2, "test": 0.2}
    whole = numbered([40, 40])
    first, again = set_aside(whole, fractions, 3), set_aside(numbered([40, 40], shuffled=np.random.default_rng(1)), fractions, 3)
    assert {part: names(pictures) for part, pictures in first.items()} == {part: names(own) for part, own in again.items()}
    assert names(first["val"]) != names(set_aside(whole, fractions, 4)["val"])


def test_one_picture_more_moves_few_others():
    before = set_aside(numbered([0, 200]), {"val": 0.2}, 0)
    after = set_aside(numbered([0, 201]), {"val": 0.2}, 0)
    assert len(names(before["val"]) ^ names(after["val"])) <= 2


def test_same_bytes_stay_together():
    pictures = numbered([60, 60])
    twins = np.array([f"d{number // 3}" for number in range(120)], dtype=DIGEST)
    parts = set_aside(ArraySet(**{**vars(pictures), "digests": twins}), {"val": 0.2, "test": 0.2}, 0)
    seen = [set(own.digests.tolist()) for own in parts.values()]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert all(seen)


def test_a_picture_of_two_classes_stays_in_train():
    pictures = numbered([4, 4])
    digests = pictures.digests.copy()
    digests[4] = digests[0]
    for seed in range(10):
        parts = set_aside(ArraySet(**{**vars(pictures), "digests": digests}), {"val": 0.4, "test": 0.3}, seed)
        assert {"x/00000", "x/00004"} <= names(parts["train"])


def test_folder_is_split_by_the_shares(make_folder):
    splits = open_folder(make_folder({"cat": 20, "dog": 40}), val_fraction=0.1, test_fraction=0.2)
    assert splits.facts.counts == {
        "train": {"cat": 14, "dog": 28},
        "val": {"cat": 2, "dog": 4},
        "test": {"cat": 4, "dog": 8},
    }


def test_no_share_for_the_test(make_folder):
    splits = open_folder(make_folder({"cat": 5, "dog": 5}), test_fraction=0)
    assert splits.test is None
    assert list(splits.parts()) == ["train", "val"]


def test_no_share_for_validation_is_an_error(make_folder):
    with pytest.raises(ConfigError, match="val_fraction is 0"):
        open_folder(make_folder({"cat": 5, "dog": 5}), val_fraction=0)


def test_too_few_pictures(make_folder):
    with pytest.raises(DataError, match="too few images"):
        open_folder(make_folder({"cat": 1, "dog": 1}))


def test_split_folders_are_kept(make_folder):
    counts = {"train/a": 3, "train/b": 4, "val/a": 2, "val/b": 1, "test/a": 1, "test/b": 1}
    splits = open_folder(make_folder(counts))
    assert {split: list(own.values()) for split, own in splits.facts.counts.items()} == {
        "train": [3, 4],
        "val": [2, 1],
        "test": [1, 1],
    }
    assert splits.val.name(0) == "val/a/0.png"


def test_train_and_val_alone_have_no_test(make_folder):
    assert open_folder(make_folder({"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1})).test is None


def test_train_and_test_alone_get_a_val_of_train(make_folder):
    splits = open_folder(make_folder({"train/a": 10, "train/b": 10, "test/a": 1, "test/b": 1}), val_fraction=0.2)
    assert [len(part) for part in splits.parts().values()] == [16, 4, 2]
    assert all(name.startswith("train/") for name in names(splits.val))
    assert all(name.startswith("test/") for name in names(splits.test))


def test_val_without_a_class_does_not_shift_the_others(make_folder):
    splits = open_folder(make_folder({"train/a": 3, "train/b": 3, "train/c": 3, "val/c": 2, "val/a": 1}))
    assert splits.val.targets.tolist() == [0, 2, 2]
    assert "val has no images of: b" in splits.facts.notices


def test_unreadable_pictures_are_skipped_up_to_a_share(make_folder):
    root = make_folder({"cat": 50, "dog": 50})
    (root / "cat/7.png").write_text("not an image at all")
    splits = open_folder(root)
    assert sum(map(len, splits.parts().values())) == 99
    assert splits.facts.unreadable == ("cat/7.png: not an image in a format that can be read",)
    assert any("1 images cannot be read and left out: cat/7.png" in line for line in splits.facts.lines())
    content = (root / "dog/3.png").read_bytes()
    (root / "dog/3.png").write_bytes(content[: len(content) // 2])
    (root / "dog/4.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"3 of 100 images cannot be read, more than --max-unreadable 1\.00%: cat/7\.png: "
    ) as caught:
        open_folder(root)
    assert "dog/3.png" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(open_folder(root, max_unreadable=0.03).facts.unreadable) == 3


def test_at_most_five_unreadable_are_shown(make_folder):
    root = make_folder({"cat": 8, "dog": 8})
    for number in range(7):
        (root / f"cat/{number}.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        open_folder(root)
    assert str(caught.value).count("an empty file") == 5
    assert str(caught.value).endswith("; ...")


def test_small_and_animated_pictures_are_said(make_folder):
    root = make_folder({"cat": 4, "dog": 4})
    Image.new("RGB", (1, 1)).save(root / "cat/dot.png")
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(root / "dog/film.gif", save_all=True, append_images=frames[1:])
    said = " ".join(open_folder(root).facts.notices)
    assert "1 images with a side under 8 pixels: cat/dot.png" in said
    assert "1 images of several frames, of which only the first is used: dog/film.gif" in said


def leaky(make_folder):
    """val and test each repeat an image of train; test repeats one of val too."""
    root = make_folder({f"{split}/{one}": 4 for split in ("train", "val", "test") for one in ("a", "b")})
    shutil.copy(root / "train/a/0.png", root / "val/a/copy.png")
    shutil.copy(root / "train/b/1.png", root / "test/b/copy.png")
    shutil.copy(root / "val/a/2.png", root / "test/a/copy.png")
    return root


def test_leaks_are_dropped_from_the_later_split(make_folder):
    splits = open_folder(leaky(make_folder), leaks="warn")
    assert [len(part) for part in splits.parts().values()] == [8, 8, 8]
    assert splits.facts.leaks == 3
    assert not any("copy" in name for part in splits.parts().values() for name in names(part))
    said = " ".join(splits.facts.notices)
    assert "1 images of val are in an earlier split too (val/a/copy.png = train: train/a/0.png): dropped from val" in said
    assert "2 images of test" in said


def test_leaks_are_kept_and_counted(make_folder):
    splits = open_folder(leaky(make_folder), leaks="ignore")
    assert [len(part) for part in splits.parts().values()] == [8, 9, 10]
    assert splits.facts.leaks == 3
    assert any("kept, as --leaks ignore says" in line for line in splits.facts.notices)


def test_leaks_are_an_error(make_folder):
    with pytest.raises(DataError, match=r"of val .*\(val/a/copy\.png = train: train/a/0\.png.*--leaks warn"):
        open_folder(leaky(make_folder), leaks="error")


def test_a_split_that_is_all_leaks_is_left_out(make_folder):
    root = make_folder({"train/a": 6, "train/b": 6})
    shutil.copytree(root / "train", root / "val")
    splits = open_folder(root)
    assert len(splits.train) + len(splits.val) == 12
    assert not set(splits.train.digests.tolist()) & set(splits.val.digests.tolist())
    assert any("all 12 " in line and "val is left out" in line for line in splits.facts.notices)


def test_one_picture_in_two_classes_is_said(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    shutil.copy(root / "cat/1.png", root / "dog/same.png")
    said = [line for line in open_folder(root).facts.notices if "another label" in line]
    assert said == ["1 images of train stand there with another label too: cat/1.png (cat) = dog/same.png (dog)"]


def test_imbalance_is_said(make_folder):
    facts = open_folder(make_folder({"cat": 60, "dog": 5})).facts
    assert facts.imbalance == facts.counts["train"]["cat"] / facts.counts["train"]["dog"]
    assert any("balanced_accuracy" in line for line in facts.notices)


def test_the_digest_follows_content_and_class_not_names(make_folder):
    root = make_folder({"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    before = open_folder(root).facts
    (root / "train/a/0.png").rename(root / "train/a/renamed.png")
    assert open_folder(root).facts.sha256 == before.sha256
    (root / "train/a/renamed.png").rename(root / "train/b/moved.png")
    after = open_folder(root).facts
    assert after.sha256 != before.sha256
    assert after.digests["val"] == before.digests["val"]


def test_record_round_trip(make_folder, tmp_path):
    splits = open_folder(make_folder({"cat": 10, "dog": 10}))
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(splits.record()))
    record = read_splits(path)
    assert record.sha256 == splits.facts.sha256
    assert record.labels == splits.labels
    assert {split: len(rows) for split, rows in record.splits.items()} == {"train": 12, "val": 4, "test": 4}
    name, label, digest = record.splits["test"][0]
    assert (name, label, digest) == (splits.test.name(0), "cat", splits.test.digest(0))
    assert record.among(["train"], splits.train) == len(splits.train)
    assert record.among(["train", "val"], splits.test) == 0
    assert record.among(["train", "val"], splits.val) == len(splits.val)


@pytest.mark.parametrize("text", ["", "[]", '{"sha256": "x"}', '{"sha256": 1, "labels": ["a"], "splits": {"train": [1]}}'])
def test_what_is_no_record(tmp_path, text):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(DataError, match=r"splits\.json: not a record of splits"):
        read_splits(tmp_path / "splits.json")


def test_facts_are_plain_values(make_folder):
    facts = open_folder(make_folder({"cat": 5, "dog": 5})).facts
    assert json.loads(json.dumps(facts.to_dict())) == facts.to_dict()


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    splits = open_splits(build({}))
    truth = load_digits()
    assert sum(map(len, splits.parts().values())) == 1797
    assert splits.labels.names == tuple("0123456789")
    for pictures in splits.parts().values():
        for index in range(0, len(pictures), 50):
            number = int(pictures.name(index).removeprefix("digits/"))
            picture = np.asarray(pictures.item(index))
            assert picture.shape == (8, 8, 3)
            assert np.array_equal(picture[..., 1], np.rint(truth.images[number] * 255 / 16))
            assert pictures.target(index) == truth.target[number]
    with pytest.raises(UnknownName, match="did you mean 'builtin:digits'"):
        open_splits(build({"data": "builtin:digit"}))


def test_evaluation_matches_classes_by_name(make_folder):
    root = make_folder({"cat": 1, "ant": 2, "dog": 1})
    pictures, facts = open_for_evaluation(root, Labels(("dog", "cow", "cat", "ant")))
    by_name = {pictures.name(index): pictures.target(index) for index in range(len(pictures))}
    assert by_name == {"ant/0.png": 3, "ant/1.png": 3, "cat/0.png": 2, "dog/0.png": 0}
    assert facts.counts == {"test": {"dog": 1, "cow": 0, "cat": 1, "ant": 2}}
    assert "test has no images of: cow" in facts.notices


def test_evaluation_on_a_class_that_the_model_does_not_know(make_folder):
    with pytest.raises(DataError, match="photos: the model has no class 'bird'"):
        open_for_evaluation(make_folder({"cat": 1, "bird": 1}), Labels(("cat", "dog")))


def test_evaluation_takes_test_before_val(make_folder):
    labels = Labels(("a", "b"))
    root = make_folder({"train/a": 3, "val/a": 2, "val/b": 2})
    assert len(open_for_evaluation(root, labels)[0]) == 4
    make_folder({"test/b": 1})
    pictures, facts = open_for_evaluation(root, labels)
    assert pictures.targets.tolist() == [1]
    assert list(facts.counts) == ["test"]
    with pytest.raises(DataError, match="neither test nor val"):
        open_for_evaluation(make_folder({"train/a": 1, "train/b": 1}, "other"), labels)


class Pairs(Dataset):
    """(image, class) without any list of classes."""

    def __init__(self, targets):
        self.own, self.reads = targets, 0

    def __len__(self):
        return len(self.own)

    def __getitem__(self, index):
        self.reads += 1
        return Image.new("L", (5, 6), 100 + index), self.own[index]


class Listed(Pairs):
    """The same with the attributes of torchvision's data sets."""

    def __init__(self, targets, classes):
        super().__init__(targets)
        self.targets, self.classes = list(targets), classes


def test_datasets_without_attributes_are_read_once():
    train = Pairs([0, 1, 2, 1])
    splits = from_datasets(train, Pairs([2, 0]))
    assert train.reads == 4
    assert splits.labels.names == ("0", "1", "2")
    assert splits.train.targets.tolist() == [0, 1, 2, 1]
    assert splits.test is None
    assert np.asarray(splits.train.item(3)).tolist()[0][0] == [103, 103, 103]
    assert splits.val.name(1) == "val[1]"


def test_of_datasets_with_attributes_the_first_row_alone_is_read():
    train = Listed([0, 1, 1, 0], ["no", "yes"])
    splits = from_datasets(Subset(train, [3, 1]), Subset(train, [0, 2]), Subset(Subset(train, [2, 0]), [1]))
    assert train.reads == 3  # the first row of each part, to see whether it is an image or a text
    assert splits.labels.names == ("no", "yes")
    assert [part.targets.tolist() for part in splits.parts().values()] == [[0, 1], [0, 1], [0]]
    assert from_datasets(train, train, label_names=["n", "y"]).labels.names == ("n", "y")


def test_a_target_transform_makes_the_attribute_worthless():
    train = Listed([0, 1], ["a", "b"])
    train.own, train.target_transform = [1, 0], lambda target: 1 - target
    assert from_datasets(train, train).train.targets.tolist() == [1, 0]


def test_targets_that_contradict_the_items():
    train = Listed([0, 1], ["a", "b"])
    train.own = [0, 0]
    splits = from_datasets(train, train)
    with pytest.raises(DataError, match=r"train\[1\]: gives class 0, but its list of targets says 1"):
        splits.train.item(1)


@pytest.mark.parametrize(
    ("train", "val", "match"),
    [
        (iter([1]), Pairs([0]), "train: a list_iterator has no length"),
        (Pairs([]), Pairs([0]), "train: the data set is empty"),
        (Pairs([0, 1]), None, "too few images to set any aside for val and test"),
        (Pairs([0, 0]), Pairs([0]), r"one label only \(0\)"),
        (Pairs([0, 1]), Pairs([0, 2]), "val: train has no class '2'"),
        (Pairs([0, None]), Pairs([0]), r"train\[1\]: the target is empty"),
        (Pairs([0, {"is": 1}]), Pairs([0]), r"train\[1\]: the target holds a dict, expected one label"),
        (TensorDataset(torch.zeros(2, 3, 4, 4)), Pairs([0]), r"train\[0\]: expected \(sample, class\)"),
    ],
)
def test_datasets_that_are_refused(train, val, match):
    with pytest.raises(DataError, match=match) as caught:
        from_datasets(train, val)
    assert "\n" not in str(caught.value)


def test_fewer_class_names_than_classes():
    with pytest.raises(DataError, match="the target is '1', which is not one of the 1 class names"):
        from_datasets(Pairs([0, 0]), Pairs([0, 1]), label_names=["only"])


def test_kinds_of_pictures_of_a_dataset():
    images = [
        torch.full((3, 4, 5), 7, dtype=torch.uint8),
        torch.full((1, 4, 5), 7, dtype=torch.uint8),
        torch.full((4, 5), 7, dtype=torch.uint8),
        torch.rand(3, 8, 8, dtype=torch.float64),
        torch.zeros(3, 4, 5, dtype=torch.int64),
        "a path",
    ]
    pictures = from_datasets(data := list(zip(images, [0, 1, 0, 1, 0, 1], strict=True)), data).train
    for index in range(3):
        assert pictures.item(index).size == (5, 4)
        assert (np.asarray(pictures.item(index)) == 7).all()
    assert torch.equal(pictures.item(3), images[3].float())
    for index in (4, 5):
        with pytest.raises(DataError, match=rf"train\[{index}\]: .* expected"):
            pictures.item(index)
