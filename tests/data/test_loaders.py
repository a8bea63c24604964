"""The same bytes whatever the number of workers and wherever one starts; failures that name the sample."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing import connection
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo import interrupts, registry
from zoo.backbones.images import ImagePreprocess
from zoo.config import FinetuneConfig, build
from zoo.data import EvalBatches, TrainBatches, from_datasets, open_splits
from zoo.data.decoding.image_files import _Locks
from zoo.data.loading.loaders import TIMEOUT, loading
from zoo.data.loading.samplers import batch_seed
from zoo.data.loading.worker_count import choose_workers
from zoo.errors import ConfigError, DataError, RunFailed, UnknownName

PREPROCESS = ImagePreprocess(16, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
PLAIN = PREPROCESS.geometry()

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of few cores


@pytest.fixture
def pictures(make_folder):
    """22 images of two classes, files on the disk."""
    return open_splits(build({"data": str(make_folder({"train/a": 12, "train/b": 10, "val/a": 2, "val/b": 2}))})).train


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_functions", {option: dict(known) for option, known in registry._functions.items()})


def batches(pictures, **options):
    return TrainBatches(pictures, PREPROCESS, **{"batch_size": 5, "augment": "strong", "accumulate": 2, "seed": 7, **options})


def evaluation(samples, **options):
    return EvalBatches(samples, PREPROCESS, **{"batch_size": 1, **options})


def content(steps):
    """Everything about some steps, as bytes."""
    return [
        (step, [tuple(getattr(batch, name).numpy().tobytes() for name in ("inputs", "targets", "weights", "indices"))])
        for step, micro_batches in steps
        for batch in micro_batches
    ]


def noisy(samples):
    """A collate function that draws."""
    return torch.stack(samples).float() + torch.rand(len(samples), 1, 1, 1)


@pytest.mark.parametrize("options", [{}, {"sampler": "balanced-batch", "drop_last": True}, {"collate_fn": "noisy"}])
def test_workers_do_not_change_a_byte(pictures, options):
    """Two epochs and a bit, so that the images are varied anew and the short last batch is in it."""
    registry.register_collate("noisy")(noisy)
    alone = content(batches(pictures, **options).steps(0, 12))
    for num_workers in (1, 4):
        assert content(batches(pictures, num_workers=num_workers, **options).steps(0, 12)) == alone
    assert len({inputs for _, [(inputs, *_)] in alone}) == len(alone)


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_processes_that_are_not_forked_do_not_change_a_byte(pictures, context):
    alone = content(batches(pictures).steps(0, 2))
    assert content(batches(pictures, num_workers=1, multiprocessing_context=context).steps(0, 2)) == alone


class Drawing:
    """Images that draw from the generators that a user's code may use."""

    targets = (0, 1) * 4

    def __len__(self):
        return 8

    def __getitem__(self, index):
        values = [random.random(), float(np.random.rand()), float(torch.rand(()))]
        return torch.tensor(values)[:, None, None].expand(3, 16, 16), self.targets[index]


def test_what_a_users_data_set_draws_does_not_depend_on_workers():
    drawing = from_datasets(Drawing(), Drawing()).train
    states = random.getstate(), np.random.get_state()[1].tolist()
    alone = content(batches(drawing).steps(0, 4))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert content(batches(drawing, num_workers=3).steps(0, 4)) == alone
    assert len({inputs for _, [(inputs, *_)] in alone}) == len(alone)


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
    list(evaluation(pictures))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_picture_is_varied_anew_each_epoch_and_by_seed(pictures):
    def seen(seed, epoch):
        steps = batches(pictures, seed=seed, accumulate=1).steps(epoch * 5, epoch * 5 + 5)
        found = {int(i): image for _, (batch,) in steps for i, image in zip(batch.indices, batch.inputs, strict=True)}
        assert sorted(found) == list(range(22))
        return found

    for other in (seen(7, 1), seen(8, 0)):
        first = seen(7, 0)
        assert sum(torch.equal(first[index], other[index]) for index in first) <= 1


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (3, 2), (3, 3)])
@pytest.mark.parametrize("sampler", ["random", "stratified"])
def test_processes_together_see_what_one_sees(pictures, world, accumulate, sampler):
    alone = batches(pictures, accumulate=1, sampler=sampler)
    ranks = [batches(pictures, rank=rank, world=world, accumulate=accumulate, sampler=sampler) for rank in range(world)]
    for (step, (whole,)), *parts in zip(alone.steps(0, 10), *(own.steps(0, 10) for own in ranks), strict=True):
        shares = [batch for _, micro_batches in parts for batch in micro_batches]
        real = torch.cat([batch.weights for batch in shares]) == 1
        for name in ("inputs", "targets", "indices"):
            assert torch.equal(torch.cat([getattr(batch, name) for batch in shares])[real], getattr(whole, name))
        assert real.sum() == alone.step_size(step) == len(whole.inputs)


def test_types_and_shapes(pictures):
    own = batches(pictures, accumulate=1)
    assert own.steps_per_epoch == 5
    (_, (batch,)), *_, (_, (last,)) = own.steps(0, 5)
    assert batch.inputs.shape == (5, 3, 16, 16)
    assert last.inputs.shape == (2, 3, 16, 16)
    kinds = [getattr(batch, name).dtype for name in ("inputs", "targets", "weights", "indices")]
    assert kinds == [torch.uint8, torch.int64, torch.float32, torch.int64]
    assert [pictures.target(int(index)) for index in batch.indices] == batch.targets.tolist()
    assert own.name(0) == "train/a/0.png"


def test_images_are_those_of_their_indices(pictures):
    _, (batch,) = next(batches(pictures, augment="none", accumulate=1).steps(2, 3))
    for index, image in zip(batch.indices.tolist(), batch.inputs, strict=True):
        assert torch.equal(image, PLAIN(Image.open(pictures.root / pictures.name(index))))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_evaluation_gives_each_picture_once_and_again(pictures, num_workers):
    """The second pass uses the workers of the first, also after one that was broken off."""
    own = evaluation(pictures, batch_size=4, num_workers=num_workers)
    next(iter(own))
    for _ in range(2):
        found = list(own)
        assert torch.cat([batch.indices for batch in found]).tolist() == list(range(22)) == list(range(own.count))
        assert torch.equal(found[2].inputs[1], PLAIN(pictures.item(9)))
        assert len(found) == len(own) == 6


def test_evaluation_in_three_processes(pictures):
    ranks = [list(evaluation(pictures, batch_size=4, rank=rank, world=3)) for rank in range(3)]
    assert [[len(batch.inputs) for batch in own] for own in ranks] == [[4, 4]] * 3
    together = {
        int(index): (int(target), image)
        for own in ranks
        for batch in own
        for index, target, image in zip(batch.indices, batch.targets, batch.inputs, strict=True)
    }
    assert sorted(together) == list(range(22))
    assert all(target == pictures.target(index) for index, (target, _) in together.items())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_file_that_went_bad_is_named(pictures, num_workers):
    (pictures.root / pictures.name(3)).write_bytes(b"overwritten since")
    own = evaluation(pictures, batch_size=4, num_workers=num_workers)
    for found in (iter(own), batches(pictures, num_workers=num_workers).steps(0, 5)):
        with pytest.raises(DataError, match=r"train/a/3\.png: replaced since it was checked") as caught:
            list(found)
        assert "\n" not in str(caught.value)
        assert any("Traceback" in note for note in caught.value.__notes__)


class Rude:
    """A data set of 20 images that does something of its own at the index 17."""

    targets = (0, 1) * 10

    def __init__(self, act, at=17):
        self.act, self.at = act, at

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == self.at:
            self.act()
        return Image.new("RGB", (4, 4), (index, 0, 0)), self.targets[index]


def rude(act, at=17):
    return from_datasets(Rude(act, at), Rude(act, at)).train


def fail():
    raise KeyError("mask")


def wait_for(condition, seconds=60.0):
    """Until it holds; what is waited for must come, however busy the machine is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def die():
    time.sleep(0.5)  # until the batches before are taken and the other side waits: then it learns of it in one way only
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_data_set_that_raises_at_17_names_17(num_workers):
    for batch_size in (1, 20):
        with pytest.raises(DataError, match=r"(?m)^train\[17\]: KeyError: 'mask'$"):
            list(evaluation(rude(fail), batch_size=batch_size, num_workers=num_workers))


@pytest.mark.parametrize(("num_workers", "batch_size"), [(1, 1), (2, 20), (3, 6)])
def test_a_hanging_worker_is_an_error_that_names_what_it_reads(num_workers, batch_size):
    own = evaluation(rude(lambda: time.sleep(3)), batch_size=batch_size, num_workers=num_workers, timeout=1)
    with pytest.raises(RunFailed, match=r"^reading train\[17\] failed: .*timed out after 1 seconds; .*--timeout 0"):
        list(own)


@pytest.mark.parametrize(("num_workers", "batch_size"), [(1, 1), (2, 20), (3, 6)])
def test_a_killed_worker_is_an_error_that_names_what_it_read(num_workers, batch_size):
    """... whichever batch is waited for."""
    with pytest.raises(RunFailed, match=r"^reading train\[17\] failed: .*smaller --num-workers") as caught:
        list(evaluation(rude(die), batch_size=batch_size, num_workers=num_workers))
    assert "\n" not in str(caught.value)


def test_a_worker_that_is_killed_while_nobody_waits_for_it_is_told_of_at_the_next_batch():
    """... and not by an exception in the midst of whatever the program does."""
    own = iter(evaluation(rude(lambda: None), num_workers=1, batch_size=2, prefetch_factor=1))
    next(own)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    assert connection.wait([worker.sentinel], timeout=60)
    said = rf"^reading train\[.*failed: worker process {worker.pid} was killed by SIGKILL; most often memory"
    with pytest.raises(RunFailed, match=said) as caught:
        list(own)
    assert "\n" not in str(caught.value)


HUNG = """
import time
from test_loaders import evaluation, rude
batches = iter(evaluation(rude(lambda: time.sleep(1000)), num_workers=1, timeout=0))
print(len([next(batches) for _ in range(17)]))
"""


def test_a_worker_that_hangs_does_not_keep_a_program_from_its_end():
    """It passes over the signal by which multiprocessing ends what is left."""
    words = [sys.executable, "-W", "ignore", "-c", HUNG]
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "17\n", "")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda samples: None, "it gave nothing for 3 samples; expected a tensor with a row for each"),
        (lambda samples: torch.stack(samples[1:]), r"it gave a tensor \[2, 3, 16, 16\] for 3 samples"),
        (lambda samples: torch.tensor(1.0), r"it gave a tensor \[\] for 3 samples"),
        (lambda samples: (torch.stack(samples), 1), "it gave a tuple for 3 samples"),
        (lambda samples: samples[7], "IndexError: list index out of range"),
    ],
)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_collate_function_that_does_not_collate(pictures, function, words, num_workers):
    registry.register_collate("mine")(function)
    with pytest.raises(ConfigError, match=f"^collate_fn mine: {words}") as caught:
        list(batches(pictures, collate_fn="mine", num_workers=num_workers).steps(0, 1))
    assert "\n" not in str(caught.value)


def test_a_collate_function_makes_training_batches_and_no_others(pictures):
    registry.register_collate("mine")(lambda samples: -torch.stack(samples).int())
    _, (plain,) = next(batches(pictures, augment="none", accumulate=1).steps(0, 1))
    _, (own,) = next(batches(pictures, augment="none", accumulate=1, collate_fn="mine").steps(0, 1))
    assert torch.equal(own.inputs, -plain.inputs.int())
    with pytest.raises(UnknownName, match="no collate_fn 'mime'; did you mean 'mine'"):
        batches(pictures, collate_fn="mime")


def test_what_a_collate_function_draws_belongs_to_its_batch(pictures):
    registry.register_collate("noisy")(noisy)
    _, (batch,) = next(batches(pictures, augment="none", accumulate=1, collate_fn="noisy").steps(6, 7))
    clean = torch.stack([PLAIN(pictures.item(int(index))) for index in batch.indices])
    drawn = torch.rand(5, 1, 1, 1, generator=torch.Generator().manual_seed(batch_seed(7, 1, int(batch.indices[0]))))
    assert torch.equal(batch.inputs, clean + drawn)


def test_the_first_thing_that_a_worker_does(pictures, tmp_path):
    registry.register_worker_init("mine")(lambda number: (tmp_path / f"worker {number}").touch())
    list(evaluation(pictures, num_workers=2, worker_init_fn="mine"))
    assert sorted(path.name for path in tmp_path.glob("worker*")) == ["worker 0", "worker 1"]


def test_a_worker_init_fn_that_raises(pictures):
    registry.register_worker_init("mine")(lambda number: {}["no such key"])
    with pytest.raises(ConfigError, match="(?m)^worker_init_fn mine, worker 0: KeyError: 'no such key'$"):
        list(evaluation(pictures, num_workers=1, worker_init_fn="mine"))


def test_what_cannot_be_sent_to_a_spawned_worker_is_named(pictures):
    registry.register_worker_init("mine")(lambda number: None)
    spawned = {"num_workers": 1, "multiprocessing_context": "spawn"}
    for own in (evaluation(pictures, worker_init_fn="mine", **spawned), evaluation(rude(lambda: None), **spawned)):
        with pytest.raises(
            ConfigError, match="^(worker_init_fn mine|the data set train.*) cannot be sent to another process"
        ) as caught:
            list(own)
        assert "--multiprocessing-context fork" in str(caught.value)
        assert "\n" not in str(caught.value)


def reads_before_the_second_batch(tmp_path, prefetch_factor, expected):
    log = tmp_path / f"reads {prefetch_factor}"

    class Logged(Rude):
        def __getitem__(self, index):
            with log.open("a") as file:
                file.write("x")
            return super().__getitem__(index)

    samples = from_datasets(Logged(fail, None), Logged(fail, None)).train
    log.write_text("")  # each part was looked at
    steps = iter(evaluation(samples, num_workers=1, prefetch_factor=prefetch_factor))
    next(steps)
    wait_for(lambda: len(log.read_text()) >= expected)
    time.sleep(0.3)  # in which one that reads further ahead would
    return len(log.read_text())


@pytest.mark.parametrize(("factor", "reads"), [(1, 2), (None, 3), (5, 6)])
def test_workers_read_as_many_batches_ahead_as_they_are_told(tmp_path, factor, reads):
    assert reads_before_the_second_batch(tmp_path, factor, expected=reads) == reads


class Pid(Rude):
    def __getitem__(self, index):
        return torch.full((3, 16, 16), float(os.getpid())), self.targets[index]


@pytest.mark.parametrize("persistent", [True, False])
def test_workers_stay_for_the_next_pass_or_not(persistent):
    own = evaluation(from_datasets(Pid(fail), Pid(fail)).train, num_workers=1, persistent_workers=persistent)
    first, second = ({float(batch.inputs.max()) for batch in own} for _ in range(2))
    assert len(first) == len(second) == 1
    assert float(os.getpid()) not in first | second
    assert (first == second) == persistent


class WaitsForTheOther(Rude):
    """The sample 0 is read once the other worker has read its first batch and begun its second."""

    def __init__(self, passed):
        super().__init__(lambda: wait_for(passed.exists), at=0)
        self.passed = passed

    def __getitem__(self, index):
        if index == 6:
            self.passed.touch()
        return super().__getitem__(index)


def test_batches_as_they_come_are_the_same_batches(tmp_path):
    passed = tmp_path / "passed"
    slow = WaitsForTheOther(passed)
    passed.touch()  # while the parts are looked at
    samples = from_datasets(slow, slow).train
    ordered, free = [], []
    for found, in_order in ((ordered, True), (free, False)):
        passed.unlink()
        found += evaluation(samples, batch_size=2, num_workers=2, in_order=in_order)
    indices = [[batch.indices.tolist() for batch in found] for found in (ordered, free)]
    assert indices[0] == [[start, start + 1] for start in range(0, 20, 2)]
    assert indices[1] != indices[0]
    assert sorted(indices[1]) == indices[0]
    for batch in free:
        assert batch.inputs[:, 0, 0, 0].tolist() == batch.indices.tolist()
        assert batch.targets.tolist() == [index % 2 for index in batch.indices.tolist()]


def test_options_of_the_config_reach_the_loader():
    options = {
        "pin_memory": False, "timeout": 7.0, "worker_init_fn": "a", "prefetch_factor": 3, "persistent_workers": False,
        "multiprocessing_context": "spawn", "in_order": False,
    }  # fmt: skip
    assert loading(build(options).loader, 2, "cuda") == {**options, "num_workers": 2}
    default = loading(FinetuneConfig().loader, 0, "cpu")
    assert default["timeout"] == TIMEOUT
    assert default["persistent_workers"]
    assert not default["pin_memory"]
    assert loading(FinetuneConfig().loader, 0, "cuda")["pin_memory"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sampler": "weighted", "shuffle": True}, "sampler weighted decides the order, and so would shuffle"),
        ({"batch_sampler": "mine", "shuffle": False}, "leave out shuffle"),
        ({"batch_sampler": "mine", "sampler": "random", "drop_last": True}, "leave out sampler and drop_last"),
        ({"num_workers": 0, "prefetch_factor": 2}, "num_workers is 0, and prefetch_factor is for workers"),
        ({"num_workers": 0, "persistent_workers": True}, "persistent_workers is for workers"),
        ({"num_workers": 0, "timeout": 5.0, "worker_init_fn": "mine"}, "timeout and worker_init_fn are for workers"),
        ({"num_workers": 0, "multiprocessing_context": "spawn"}, "multiprocessing_context is for workers"),
        ({"num_workers": 0, "in_order": False}, "in_order is for workers"),
        ({"in_order": False, "processes": 2}, "in_order false is for one process, and processes is 2"),
        ({"pin_memory": True, "device": "cpu"}, "pin_memory is for a GPU, and device is cpu"),
        ({"prefetch_factor": 0}, "prefetch_factor is 0; it lies between 1"),
        ({"timeout": -1.0}, "timeout is -1.0; it lies between 0"),
        ({"multiprocessing_context": "sprawn"}, "did you mean 'spawn'"),
    ],
)
def test_options_that_exclude_each_other(values, words):
    with pytest.raises(ConfigError, match=words):
        build(values)


def test_workers_are_chosen_by_timing(pictures):
    none = choose_workers(pictures, PREPROCESS, FinetuneConfig().loader, most=2)
    assert none.count == 0
    assert none.why.startswith("0 workers: reading takes")
    assert choose_workers(pictures, PREPROCESS, build({"timeout": 60.0}).loader, most=2).count == 2

    read = []  # by this process alone

    class Slow(Rude):
        def __getitem__(self, index):
            read.append(index)
            time.sleep(0.03)
            return super().__getitem__(index)

    samples = from_datasets(Slow(fail, None), Slow(fail, None)).train
    read.clear()
    some = choose_workers(samples, PREPROCESS, FinetuneConfig().loader, most=3)
    assert len(read) <= 12  # a quarter of a second, and no more, goes into timing this process
    assert some.count == 3
    assert "and by 3 workers" in some.why


@pytest.mark.parametrize("name", interrupts.SIGNALS)
def test_workers_survive_signals_that_ask_to_stop(name):
    """The terminal, or the service, sends them to the workers too, and the trainer still wants the images of its step."""
    interrupted = rude(lambda: os.kill(os.getpid(), name))
    assert len(list(evaluation(interrupted, num_workers=1))) == 20


def test_a_worker_does_not_wait_for_a_lock_that_was_held_when_it_was_forked(pictures):
    """... by another thread, which was opening an image."""
    with _Locks.warning_filters:
        assert len(list(evaluation(pictures, batch_size=22, num_workers=1, timeout=10))) == 1


def test_float_tensors_pass_and_must_fit():
    images = [torch.rand(3, 16, 16), torch.rand(3, 16, 16), torch.rand(3, 8, 8)]
    data = list(zip(images, [0, 1, 1], strict=True))
    good = from_datasets(data[:2], data[:2]).train
    _, (batch,) = next(batches(good, batch_size=2, accumulate=1).steps(0, 1))
    assert all(torch.equal(image, images[index]) for index, image in zip(batch.indices, batch.inputs, strict=True))
    with pytest.raises(DataError, match=r"train\[2\]: a float tensor \[3, 8, 8\]; expected \[3, 16, 16\]"):
        list(evaluation(from_datasets(data, data).train))


def test_uint8_tensors_are_transformed_like_pictures():
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 20, 24), dtype=np.uint8))
    data = [(values, 0), (values, 1)]
    (batch,) = evaluation(from_datasets(data, data).train, batch_size=2)
    assert torch.equal(batch.inputs[0], PLAIN(Image.fromarray(values.permute(1, 2, 0).numpy())))


def test_normalised_and_plain_pictures_do_not_mix():
    data = [(torch.rand(3, 16, 16), 0), (Image.new("RGB", (20, 20)), 1)]
    with pytest.raises(DataError, match="some images of one data set are normalised already"):
        list(evaluation(from_datasets(data, data).train, batch_size=2))
