"""Every sample once an epoch, or as a sampler says; the same whatever the number of processes; no rank ever waits for another."""

import itertools

import numpy as np
import pytest

from zoo import registry
from zoo.config import build
from zoo.data import open_splits
from zoo.data.loading.orders import balanced, length_grouped, make_plan, sampling, stratified, subset, weighted
from zoo.data.loading.samplers import StepPlan, batch_seed, cut, evaluation_shares, order, sample_seed, steps_per_epoch
from zoo.data.sets import DIGEST, TextSet
from zoo.errors import ConfigError, UnknownName

SHAPES = list(itertools.product([1, 2, 7, 24, 25], [1, 4, 5, 8], [1, 2, 3], [1, 2, 3]))


def texts(targets, sizes=None):
    """A set of texts of so many characters."""
    targets = np.asarray(targets)
    lengths = np.full(len(targets), 3) if sizes is None else sizes
    return TextSet(
        title="table",
        texts=np.array(["x" * int(size) for size in lengths], dtype=np.dtypes.StringDType()),
        seconds=None,
        numbers=np.arange(len(targets)),
        targets=targets,
        digests=np.zeros(len(targets), DIGEST),
    )


SKEWED = np.repeat([0, 1, 2], [70, 20, 7])[np.random.default_rng(0).permutation(97)]
SIZES = np.random.default_rng(1).integers(1, 400, 97)
SAMPLES = texts(SKEWED, SIZES)
NAMES = ["random", "sequential", "weighted", "balanced-batch", "stratified", "length-grouped", "subset:50"]


def epoch_of(plan, epoch=0):
    """The batches of an epoch, as lists."""
    steps = plan.steps_per_epoch
    return [plan.batch(step).tolist() for step in range(epoch * steps, (epoch + 1) * steps)]


def test_an_epoch_is_a_permutation_of_its_own():
    for seed, epoch in itertools.product([0, 1, 2**32 - 1], [0, 1, 50]):
        assert sorted(order(100, seed, epoch)) == list(range(100))
    distinct = {tuple(order(100, seed, epoch)) for seed, epoch in itertools.product(range(4), range(4))}
    assert len(distinct) == 16


def test_the_order_is_the_same_in_every_version_of_numpy_and_on_every_machine():
    assert order(10, 0, 0).tolist() == [9, 2, 4, 7, 5, 0, 8, 6, 3, 1]
    assert order(0, 0, 0).dtype == np.int64


def test_every_place_is_equally_likely():
    firsts = np.bincount([order(5, 0, epoch)[0] for epoch in range(2000)], minlength=5)
    assert abs(firsts - 400).max() < 90  # five standard deviations of a binomial count


def test_seeds_of_samples_and_of_batches_differ():
    keys = list(itertools.product(range(10), range(10), range(10)))
    seeds = {sample_seed(*key) for key in keys} | {batch_seed(*key) for key in keys}
    assert len(seeds) == 2000
    assert max(seeds) < 2**63


@pytest.mark.parametrize(("count", "size", "steps"), [(1, 1, 1), (1, 8, 1), (8, 8, 1), (9, 8, 2), (1259, 32, 40)])
def test_steps_per_epoch(count, size, steps):
    assert steps_per_epoch(count, size) == steps == len(cut(np.arange(count), size))


@pytest.mark.parametrize(("count", "batch_size", "world", "accumulate"), SHAPES)
def test_ranks_in_turn_are_the_whole_batch(count, batch_size, world, accumulate):
    alone = StepPlan(count, batch_size, seed=3)
    ranks = [StepPlan(count, batch_size, 3, rank, world, accumulate) for rank in range(world)]
    check_ranks(alone, ranks)
    epochs = [np.concatenate(epoch_of(alone, epoch)) for epoch in (0, 1)]
    assert all(sorted(one) == list(range(count)) for one in epochs)


def check_ranks(alone, ranks):
    """Three epochs of several ranks are those of one, and no rank has more micro-batches than another."""
    for step in range(3 * alone.steps_per_epoch):
        (whole,) = alone.shares(step)
        shares = [plan.shares(step) for plan in ranks]
        real = [share.indices[share.weights == 1] for own in shares for share in own]
        assert np.concatenate(real).tolist() == whole.indices.tolist()
        assert {plan.step_size(step) for plan in ranks} == {len(whole.indices)}
        assert sum(share.weights.sum() for own in shares for share in own) == len(whole.indices)
        (micro_batches,) = {len(own) for own in shares}
        assert micro_batches <= ranks[0].accumulate
        assert all(len(share.indices) for own in shares for share in own)
        sizes = [len(share.indices) for own in shares for share in own]
        assert max(sizes) - min(sizes) <= 1 or micro_batches > 1


@pytest.mark.parametrize(
    ("count", "batch_size", "world", "accumulate"), [shape for shape in SHAPES if shape[1] >= 2 * shape[2] * shape[3]]
)
def test_no_micro_batch_has_fewer_samples_than_it_needs(count, batch_size, world, accumulate):
    alone = StepPlan(count, batch_size, 3, least=2 * world)  # one process, the same steps
    ranks = [StepPlan(count, batch_size, 3, rank, world, accumulate, least=2) for rank in range(world)]
    if count < 2 * world:
        with pytest.raises(ConfigError, match=rf"epoch 0 has {count} of {count} training samples, .* needs 2 samples"):
            ranks[0].batch(0)
        return
    for step in range(3 * ranks[0].steps_per_epoch):
        shares = [plan.shares(step) for plan in ranks]
        assert all(len(share.indices) >= 2 and share.weights.all() for own in shares for share in own)
        assert len({len(own) for own in shares}) == 1
        assert len(shares[0]) <= accumulate
        whole = np.concatenate([share.indices for own in shares for share in own])
        assert whole.tolist() == alone.batch(step).tolist()
        assert ranks[0].step_size(step) == len(whole) < batch_size + 2 * world
    for epoch in (0, 1, 2):
        assert sorted(itertools.chain.from_iterable(epoch_of(ranks[0], epoch))) == list(range(count))


def test_a_tail_joins_the_step_before_it_whatever_the_sampler():
    for name in ("random", "sequential", "stratified", "length-grouped"):
        plan = make_plan(SAMPLES, 8, 3, sampler=name, least=2)
        assert [len(batch) for batch in epoch_of(plan)] == [8] * 11 + [9]
    dropped = make_plan(SAMPLES, 8, 3, drop_last=True, least=2)
    assert [len(batch) for batch in epoch_of(dropped)] == [8] * 12


def test_no_rank_gets_more_micro_batches_than_it_must():
    plan = StepPlan(count=8, batch_size=8, seed=0, world=2, accumulate=3)
    assert [len(share.indices) for share in plan.shares(0)] == [2, 1, 1]


def test_what_was_drawn_is_drawn_again_after_other_epochs():
    """The plan keeps two epochs; workers ask ahead of the trainer."""
    plan = StepPlan(count=10, batch_size=4, seed=5)
    first = [plan.batch(step).tolist() for step in range(12)]
    assert [plan.batch(step).tolist() for step in (0, 11, 1, 4, 2)] == [first[step] for step in (0, 11, 1, 4, 2)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("world", "accumulate"), [(1, 3), (3, 2)])
def test_every_sampler_is_the_same_over_any_ranks(name, world, accumulate):
    alone = make_plan(SAMPLES, 8, 3, sampler=name)
    check_ranks(alone, [make_plan(SAMPLES, 8, 3, sampler=name, rank=r, world=world, accumulate=accumulate) for r in range(world)])


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_is_a_function_of_seed_and_epoch(name):
    plans = [make_plan(SAMPLES, 8, seed, sampler=name) for seed in (3, 3, 4)]
    assert epoch_of(plans[0], 7) == epoch_of(plans[1], 7)
    others = [epoch_of(plans[0], 8), epoch_of(plans[2], 7)]
    assert all((other == epoch_of(plans[0], 7)) == (name == "sequential") for other in others)


@pytest.mark.parametrize("name", ["random", "sequential", "stratified", "length-grouped"])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 97])
def test_samplers_that_give_every_sample_once(name, count):
    plan = make_plan(SAMPLES.subset(np.arange(count)), 8, 1, sampler=name)
    for epoch in range(3):
        batches = epoch_of(plan, epoch)
        assert sorted(itertools.chain.from_iterable(batches)) == list(range(count))
        assert [len(batch) for batch in batches] == [8] * (count // 8) + [count % 8] * (count % 8 > 0)


def test_sequential_is_in_order():
    assert epoch_of(make_plan(SAMPLES, 40, 9, sampler="sequential"), 3) == [[*range(40)], [*range(40, 80)], [*range(80, 97)]]


def test_weighted_gives_classes_alike_and_samples_of_a_class_alike():
    drawn = np.concatenate([weighted(SKEWED, 0, epoch) for epoch in range(300)])
    assert len(drawn) == 300 * 97
    for one, size in enumerate([70, 20, 7]):
        counts = np.bincount(drawn, minlength=97)[one == SKEWED]
        assert abs(counts.sum() - 9700) < 5 * np.sqrt(29100 * 2 / 9)  # five standard deviations of a binomial count
        assert abs(counts - 9700 / size).max() < 5 * np.sqrt(9700 / size)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 8, 9, 32, 200])
def test_balanced_batches_differ_by_one_at_most(batch_size):
    for epoch in range(4):
        drawn = balanced(SKEWED, batch_size, 0, epoch)
        assert len(drawn) == 97
        for batch in cut(drawn, batch_size):
            counts = np.bincount(SKEWED[batch], minlength=3)
            assert counts.max() - counts.min() <= 1
        per_class = [np.bincount(drawn, minlength=97)[one == SKEWED] for one in range(3)]
        assert all(counts.max() - counts.min() <= 1 for counts in per_class)  # in turn, none twice before the others


def test_balanced_batches_are_mixed():
    """A rank that takes the first half of each batch sees every class."""
    batches = cut(balanced(np.repeat([0, 1], 100), 20, 0, 0), 20)
    firsts = [int((batch[:10] < 100).sum()) for batch in batches]
    assert 0 < sum(firsts) < 100
    assert len(set(firsts)) > 1


@pytest.mark.parametrize("batch_size", [2, 8, 10, 32, 96, 97, 200])
@pytest.mark.parametrize("classes", [SKEWED, np.arange(97) % 10, np.arange(97)])
def test_stratified_batches_have_the_proportion_of_the_whole(batch_size, classes):
    whole = np.bincount(classes)
    for epoch in range(3):
        for batch in cut(stratified(classes, batch_size, 0, epoch), batch_size):
            counts = np.bincount(classes[batch], minlength=len(whole))
            assert abs(counts - whole * len(batch) / 97).max() < 2


def test_stratified_is_far_nearer_to_the_proportion_than_chance():
    def spread(batches):
        return np.std([(SKEWED[batch] == 1).sum() for batch in batches[:-1]])

    near = np.mean([spread(cut(stratified(SKEWED, 16, 0, epoch), 16)) for epoch in range(10)])
    assert near < 0.5 * np.mean([spread(cut(order(97, 0, epoch), 16)) for epoch in range(10)])


def test_length_grouped_batches_have_little_padding():
    sizes = np.random.default_rng(0).integers(1, 500, 3000)

    def padding(rows):
        return sum(int(sizes[batch].max() * len(batch) - sizes[batch].sum()) for batch in cut(rows, 16)) / sizes.sum()

    rows = length_grouped(sizes, 16, 0, 0)
    assert padding(rows) < 0.05 < 0.5 < padding(order(3000, 0, 0))
    batches = cut(rows, 16)
    assert sizes[batches[0]].max() == sizes.max()  # too little memory shows at once
    assert len(batches[-1]) == 3000 % 16
    assert (
        abs(np.corrcoef(np.arange(1, 187), [sizes[batch].mean() for batch in batches[1:-1]])[0, 1]) < 0.25
    )  # no long ones first
    first = set(map(frozenset, (batch.tolist() for batch in batches)))
    assert not first & set(map(frozenset, (batch.tolist() for batch in cut(length_grouped(sizes, 16, 0, 1), 16))))


def test_a_subset_is_the_same_in_every_epoch():
    epochs = [np.concatenate(epoch_of(make_plan(SAMPLES, 8, 3, sampler="subset:20"), epoch)) for epoch in range(3)]
    assert {tuple(sorted(one)) for one in epochs} == {tuple(subset(97, 20, 3))}
    assert len(set(subset(97, 20, 3))) == 20
    assert len({tuple(one) for one in epochs}) == 3
    assert set(subset(97, 20, 3)) != set(subset(97, 20, 4))
    taken = np.bincount(np.concatenate([subset(10, 3, seed) for seed in range(2000)]), minlength=10)
    assert abs(taken - 600).max() < 5 * np.sqrt(2000 * 0.3 * 0.7)


def test_drop_last_leaves_out_the_short_step():
    kept, dropped = (make_plan(SAMPLES, 8, 3, drop_last=drop) for drop in (False, True))
    assert (kept.steps_per_epoch, dropped.steps_per_epoch) == (13, 12)
    assert [len(batch) for batch in epoch_of(dropped, 2)] == [8] * 12
    assert dropped.batch(12).tolist() == kept.batch(13).tolist()  # the second epoch begins a step earlier
    assert make_plan(SAMPLES.subset(np.arange(16)), 8, 3, drop_last=True).steps_per_epoch == 2
    with pytest.raises(ConfigError, match="drop_last leaves no step: .* batch_size, 98"):
        make_plan(SAMPLES, 98, 3, drop_last=True)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, {"sampler": None, "batch_sampler": None, "drop_last": False}),
        ({"shuffle": True}, {"sampler": None, "batch_sampler": None, "drop_last": False}),
        ({"shuffle": False, "drop_last": True}, {"sampler": "sequential", "batch_sampler": None, "drop_last": True}),
        ({"sampler": "weighted"}, {"sampler": "weighted", "batch_sampler": None, "drop_last": False}),
        ({"batch_sampler": "mine"}, {"sampler": None, "batch_sampler": "mine", "drop_last": False}),
    ],
)
def test_options_of_the_config_name_the_sampler(values, wanted):
    assert sampling(build(values).loader) == wanted
    if not values:
        assert epoch_of(make_plan(SAMPLES, 8, 3, **wanted), 2) == epoch_of(StepPlan(97, 8, 3), 2)


@pytest.mark.parametrize(
    ("samples", "name", "error", "words"),
    [
        (SAMPLES, "wieghted", UnknownName, "no sampler 'wieghted'; did you mean 'weighted'"),
        (SAMPLES, "subset", ConfigError, r"subset:N, with N between 1 and 97"),
        (SAMPLES, "subset:98", ConfigError, r"subset:N, with N between 1 and 97"),
        (SAMPLES, "subset:1.5", ConfigError, r"subset:N"),
        (texts(np.eye(4, dtype=np.float32)), "weighted", ConfigError, "weighted is for one class a sample"),
        (SAMPLES, "no_such_module:draw", ConfigError, "sampler no_such_module:draw: No module named"),
        (SAMPLES, "math:pi", ConfigError, "a float; expected a function"),
    ],
)
def test_samplers_that_are_refused(samples, name, error, words):
    with pytest.raises(error, match=words) as caught:
        make_plan(samples, 8, 0, sampler=name)
    assert "\n" not in str(caught.value)


def test_length_grouped_needs_lengths():
    with pytest.raises(ConfigError, match="these images have no lengths to group by"):
        make_plan(open_splits(build({"data": "builtin:digits"})).train, 8, 0, sampler="length-grouped")


@pytest.fixture
def registered(monkeypatch):
    """`registered("sampler", function)` names a function `mine` for one test."""
    monkeypatch.setattr(registry, "_functions", {option: dict(known) for option, known in registry._functions.items()})

    def register(option, function):
        {"sampler": registry.register_sampler, "batch_sampler": registry.register_batch_sampler}[option]("mine")(function)

    return register


def longest_first(samples, seed, epoch):
    return np.argsort(-samples.sizes)[: 30 + seed]


def test_a_registered_sampler_gives_the_order(registered):
    registered("sampler", longest_first)
    plan = make_plan(SAMPLES, 8, 2, sampler="mine", rank=1, world=2)
    assert plan.steps_per_epoch == 4
    assert [*itertools.chain.from_iterable(epoch_of(plan))] == np.argsort(-SIZES)[:32].tolist()
    with pytest.raises(UnknownName, match="did you mean 'mine'"):
        make_plan(SAMPLES, 8, 2, sampler="mime")
    with pytest.raises(ConfigError, match="a sampler 'mine' is registered already"):
        registered("sampler", order)
    with pytest.raises(ConfigError, match="a sampler 'random' is registered already"):
        registry.register_sampler("random")(order)


def test_a_registered_batch_sampler_gives_whole_steps(registered):
    registered("batch_sampler", lambda samples, seed, epoch: [[epoch, 5], range(7), np.array([9])])
    alone = make_plan(SAMPLES, 8, 0, batch_sampler="mine")
    with pytest.raises(ConfigError, match=r"a step of epoch 0 has \d+ of 97 training samples, .* needs 99 samples"):
        make_plan(SAMPLES, 8, 0, batch_sampler="mine", least=99).batch(0)
    assert epoch_of(alone, 3) == [[3, 5], [0, 1, 2, 3, 4, 5, 6], [9]]
    assert [alone.step_size(step) for step in range(3)] == [2, 7, 1]
    ranks = [make_plan(SAMPLES, 8, 0, batch_sampler="mine", rank=rank, world=3, accumulate=2) for rank in range(3)]
    check_ranks(alone, ranks)


@pytest.mark.parametrize(
    ("option", "function", "words"),
    [
        ("sampler", lambda samples, seed, epoch: None, "sampler mine, epoch 0: it gave a NoneType; expected indices"),
        ("sampler", lambda samples, seed, epoch: [], "expected one or more whole numbers"),
        ("sampler", lambda samples, seed, epoch: [0.5], "an array .* of float64"),
        ("sampler", lambda samples, seed, epoch: [3, 97], "it gave the index 97; there are 97 samples"),
        ("sampler", lambda samples, seed, epoch: [-1], "it gave the index -1"),
        ("sampler", lambda samples, seed, epoch: np.random.default_rng().permutation(97), "asked twice for one epoch"),
        ("batch_sampler", lambda samples, seed, epoch: None, "batch_sampler mine, epoch 0: it gave no batch"),
        ("batch_sampler", lambda samples, seed, epoch: [], "it gave no batch"),
        ("batch_sampler", lambda samples, seed, epoch: [[1], []], "batch 1: it gave an array"),
        ("batch_sampler", lambda samples, seed, epoch: [1, 2], "batch 0: it gave a int"),
    ],
)
def test_what_a_users_sampler_may_not_give(registered, option, function, words):
    registered(option, function)
    with pytest.raises(ConfigError, match=words) as caught:
        make_plan(SAMPLES, 8, 0, **{option: "mine"})
    assert "\n" not in str(caught.value)


def test_a_sampler_whose_epochs_differ_in_length(registered):
    registered("sampler", lambda samples, seed, epoch: range(20 - 10 * epoch))
    plan = make_plan(SAMPLES, 8, 0, sampler="mine")
    with pytest.raises(ConfigError, match="epoch 1 has 2 steps, and the first 3"):
        plan.batch(3)


@pytest.mark.parametrize(("count", "batch_size", "world"), list(itertools.product([1, 2, 5, 8, 13], [1, 3, 8], [1, 2, 3, 4])))
def test_evaluation_covers_every_sample_in_equal_shares(count, batch_size, world):
    ranks = [evaluation_shares(count, batch_size, rank, world) for rank in range(world)]
    assert len({tuple(len(share.indices) for share in own) for own in ranks}) == 1
    indices = np.concatenate([share.indices for own in ranks for share in own])
    weights = np.concatenate([share.weights for own in ranks for share in own])
    assert sorted(indices[weights == 1]) == list(range(count))
    assert set(indices.tolist()) == set(range(count))
    if world == 1:
        assert indices.tolist() == list(range(count))
