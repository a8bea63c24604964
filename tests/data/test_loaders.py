"""The same bytes whatever the number of workers and wherever one starts; failures that name the picture."""

import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.backbones.base import Preprocess
from zoo.config import build
from zoo.data import EvalBatches, TrainBatches, from_datasets, open_splits
from zoo.data.pictures import _Locks
from zoo.data.transforms import train_transform
from zoo.errors import DataError, RunFailed

PREPROCESS = Preprocess(16, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
STRONG = train_transform(PREPROCESS, "strong")
PLAIN = PREPROCESS.geometry()


@pytest.fixture
def pictures(make_folder):
    """22 pictures of two classes, files on the disk."""
    return open_splits(build({"data": str(make_folder({"train/a": 12, "train/b": 10, "val/a": 2, "val/b": 2}))})).train


def batches(pictures, transform=STRONG, **options):
    return TrainBatches(pictures, transform, **{"batch_size": 5, "accumulate": 2, "seed": 7, **options})


def content(steps):
    """Everything about some steps, as bytes."""
    return [
        (step, [tuple(getattr(batch, name).numpy().tobytes() for name in ("images", "targets", "weights", "indices"))])
        for step, micro_batches in steps
        for batch in micro_batches
    ]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
def test_workers_do_not_change_a_byte(pictures):
    """Two epochs and a bit, so that the pictures are varied anew and the short last batch is in it."""
    alone = content(batches(pictures).steps(0, 12))
    assert content(batches(pictures, num_workers=1).steps(0, 12)) == alone
    assert content(batches(pictures, num_workers=2).steps(0, 12)) == alone


@pytest.mark.parametrize("start", [1, 4, 5, 9])
def test_starting_late_is_skipping(pictures, start):
    whole = [part for part in content(batches(pictures).steps(0, 11)) if part[0] >= start]
    assert content(batches(pictures).steps(start, 11)) == whole


def test_neither_the_global_generator_nor_what_was_read_before_matters(pictures):
    first = content(batches(pictures).steps(0, 2))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    own = batches(pictures)
    list(own.steps(6, 8))
    assert content(own.steps(0, 2)) == first
    list(EvalBatches(pictures, PLAIN, batch_size=4))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_picture_is_varied_anew_each_epoch_and_by_seed(pictures):
    def seen(seed, epoch):
        steps = batches(pictures, seed=seed, accumulate=1).steps(epoch * 5, epoch * 5 + 5)
        found = {int(i): image for _, (batch,) in steps for i, image in zip(batch.indices, batch.images, strict=True)}
        assert sorted(found) == list(range(22))
        return found

    for other in (seen(7, 1), seen(8, 0)):
        first = seen(7, 0)
        assert sum(torch.equal(first[index], other[index]) for index in first) <= 1


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (3, 2), (3, 3)])
def test_processes_together_see_what_one_sees(pictures, world, accumulate):
    alone = batches(pictures, accumulate=1)
    ranks = [batches(pictures, rank=rank, world=world, accumulate=accumulate) for rank in range(world)]
    for (step, (whole,)), *parts in zip(alone.steps(0, 10), *(own.steps(0, 10) for own in ranks), strict=True):
        shares = [batch for _, micro_batches in parts for batch in micro_batches]
        real = torch.cat([batch.weights for batch in shares]) == 1
        for name in ("images", "targets", "indices"):
            assert torch.equal(torch.cat([getattr(batch, name) for batch in shares])[real], getattr(whole, name))
        assert real.sum() == alone.step_size(step) == len(whole.images)


def test_types_and_shapes(pictures):
    own = batches(pictures, accumulate=1)
    assert own.steps_per_epoch == 5
    (_, (batch,)), *_, (_, (last,)) = own.steps(0, 5)
    assert batch.images.shape == (5, 3, 16, 16)
    assert last.images.shape == (2, 3, 16, 16)
    kinds = [getattr(batch, name).dtype for name in ("images", "targets", "weights", "indices")]
    assert kinds == [torch.uint8, torch.int64, torch.float32, torch.int64]
    assert [pictures.target(int(index)) for index in batch.indices] == batch.targets.tolist()
    assert own.name(0) == "train/a/0.png"


def test_images_are_those_of_their_indices(pictures):
    _, (batch,) = next(batches(pictures, PLAIN, accumulate=1).steps(2, 3))
    for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
        assert torch.equal(image, PLAIN(Image.open(pictures.root / pictures.name(index))))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_evaluation_gives_each_picture_once_and_again(pictures, num_workers):
    """The second pass uses the workers of the first, also after one that was broken off."""
    own = EvalBatches(pictures, PLAIN, batch_size=4, num_workers=num_workers)
    next(iter(own))
    for _ in range(2):
        found = list(own)
        assert torch.cat([batch.indices for batch in found]).tolist() == list(range(22)) == list(range(own.count))
        assert torch.equal(found[2].images[1], PLAIN(pictures.picture(9)))
        assert len(found) == len(own) == 6


def test_evaluation_in_three_processes(pictures):
    ranks = [list(EvalBatches(pictures, PLAIN, batch_size=4, rank=rank, world=3)) for rank in range(3)]
    assert [[len(batch.images) for batch in own] for own in ranks] == [[4, 4]] * 3
    together = {
        int(index): (int(target), image)
        for own in ranks
        for batch in own
        for index, target, image in zip(batch.indices, batch.targets, batch.images, strict=True)
    }
    assert sorted(together) == list(range(22))
    assert all(target == pictures.target(index) for index, (target, _) in together.items())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_file_that_went_bad_is_named(pictures, num_workers):
    (pictures.root / pictures.name(3)).write_bytes(b"overwritten since")
    evaluation = EvalBatches(pictures, PLAIN, batch_size=4, num_workers=num_workers)
    for found in (iter(evaluation), batches(pictures, num_workers=num_workers).steps(0, 5)):
        with pytest.raises(DataError, match=r"train/a/3\.png: not a picture") as caught:
            list(found)
        assert "\n" not in str(caught.value)
        assert any("Traceback" in note for note in caught.value.__notes__)


class Rude:
    """A data set that fails in ways of its own."""

    targets = (0, 1, 0, 1)

    def __init__(self, act):
        self.act = act

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            self.act()
        return Image.new("RGB", (4, 4)), self.targets[index]


def rude(act):
    return from_datasets(Rude(act), Rude(act)).train


def fail():
    raise KeyError("mask")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_dataset_that_fails_is_named(num_workers):
    with pytest.raises(DataError, match=r"train\[2\]: 'mask'"):
        list(EvalBatches(rude(fail), PLAIN, batch_size=1, num_workers=num_workers))


def test_a_hanging_worker_is_an_error_that_names_what_it_reads():
    own = EvalBatches(rude(lambda: time.sleep(2)), PLAIN, batch_size=1, num_workers=1, timeout=1)
    with pytest.raises(RunFailed, match=r"reading train\[2\], ... failed: .*timed out after 1 seconds"):
        list(own)


def test_a_killed_worker_is_an_error():

    def die():
        time.sleep(0.5)  # until the batches before are taken and the other side waits: then it learns of it in one way only
        os.kill(os.getpid(), signal.SIGKILL)

    own = EvalBatches(rude(die), PLAIN, batch_size=1, num_workers=1)
    with pytest.raises(RunFailed, match="smaller --num-workers") as caught:
        list(own)
    assert "\n" not in str(caught.value)


def test_workers_survive_ctrl_c():
    """The terminal sends it to them too, and the trainer still wants the pictures of its step."""
    interrupted = rude(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert len(list(EvalBatches(interrupted, PLAIN, batch_size=1, num_workers=1))) == 4


def test_a_worker_does_not_wait_for_a_lock_that_was_held_when_it_was_forked(pictures):
    """... by another thread, which was opening a picture."""
    with _Locks.warning_filters:
        assert len(list(EvalBatches(pictures, PLAIN, batch_size=22, num_workers=1, timeout=10))) == 1


def test_float_tensors_pass_and_must_fit():
    images = [torch.rand(3, 16, 16), torch.rand(3, 16, 16), torch.rand(3, 8, 8)]
    data = list(zip(images, [0, 1, 1], strict=True))
    good = from_datasets(data[:2], data[:2]).train
    _, (batch,) = next(TrainBatches(good, STRONG, batch_size=2).steps(0, 1))
    assert all(torch.equal(image, images[index]) for index, image in zip(batch.indices, batch.images, strict=True))
    with pytest.raises(DataError, match=r"train\[2\]: a float tensor \[3, 8, 8\]; expected \[3, 16, 16\]"):
        list(EvalBatches(from_datasets(data, data).train, PLAIN, batch_size=1))


def test_uint8_tensors_are_transformed_like_pictures():
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 20, 24), dtype=np.uint8))
    data = [(values, 0), (values, 1)]
    (batch,) = EvalBatches(from_datasets(data, data).train, PLAIN, batch_size=2)
    assert torch.equal(batch.images[0], PLAIN(Image.fromarray(values.permute(1, 2, 0).numpy())))


def test_normalised_and_plain_pictures_do_not_mix():
    data = [(torch.rand(3, 16, 16), 0), (Image.new("RGB", (20, 20)), 1)]
    with pytest.raises(DataError, match="some pictures of one data set are normalised already"):
        list(EvalBatches(from_datasets(data, data).train, PLAIN, batch_size=2))
