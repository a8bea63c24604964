"""What each epoch has, and in what order, by the name of a sampler: functions of (samples, seed, epoch).

A sampler's order is cut into steps (`zoo.data.loading.samplers.StepPlan`), and these into the shares of processes and micro-batches; so
none of them knows how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

import numpy as np

from zoo import registry
from zoo.config import LoaderConfig
from zoo.data.loading.samplers import ORDER, SUBSET, Draw, StepPlan, bits_of, cut, order, permutation
from zoo.data.sets import Integers, SampleSet
from zoo.errors import ConfigError

MEGA_BATCH = 50
"""Batches among which `length-grouped` sorts; fewer where that leaves less than four such groups. As transformers'
`get_length_grouped_indices`."""

Order = Callable[[int], Integers]
"""From an epoch to the indices of its samples, in their order."""


class Sampling(TypedDict, total=False):
    """Which samples an epoch has, in what order, and how it is cut into steps."""

    sampler: str | None
    """None: `random`."""
    batch_sampler: str | None
    """Gives whole steps, in the place of `sampler`, `batch_size` and `drop_last`."""
    drop_last: bool


def sampling(options: LoaderConfig) -> Sampling:
    """What these options say."""
    named = "sequential" if options.shuffle is False else options.sampler
    return {"sampler": named, "batch_sampler": options.batch_sampler, "drop_last": options.drop_last}


def make_plan(
    samples: SampleSet,
    batch_size: int,
    seed: int,
    *,
    rank: int = 0,
    world: int = 1,
    accumulate: int = 1,
    least: int = 1,
    **how: Unpack[Sampling],
) -> StepPlan:
    """The plan of training by these options. least: samples that every micro-batch has at least.

    Raises: UnknownName, with the nearest; ConfigError where the samples lack what the sampler needs, or nothing is left of an epoch.
    """
    draw = _draw(samples, batch_size, seed, least * world if least > 1 else 1, how)
    return StepPlan(len(samples), batch_size, seed, rank, world, accumulate, draw, least)


def _draw(samples: SampleSet, batch_size: int, seed: int, least: int, how: Sampling) -> Draw:
    batch_sampler, drop_last = how.get("batch_sampler"), how.get("drop_last", False)
    if batch_sampler is not None:
        return _batches(batch_sampler, samples, seed)
    drawn = _order(how.get("sampler") or "random", samples, batch_size, seed)
    if drop_last and len(drawn(0)) < batch_size:
        raise ConfigError(f"drop_last leaves no step: an epoch has fewer samples than batch_size, {batch_size}; leave it out")
    return lambda epoch: cut(drawn(epoch), batch_size, drop_last=drop_last, least=least)


def _order(name: str, samples: SampleSet, batch_size: int, seed: int) -> Order:
    count, kind = len(samples), name.partition(":")[0]
    if name == "random":
        return lambda epoch: order(count, seed, epoch)
    if name == "sequential":
        return lambda epoch: np.arange(count, dtype=np.int64)
    if name == "length-grouped":
        sizes = samples.sizes
        if sizes is None:
            raise ConfigError(f"sampler {name}: these {samples.kind.nouns} have no lengths to group by; use random")
        return lambda epoch: length_grouped(sizes, batch_size, seed, epoch)
    if kind == "subset":
        chosen = subset(count, _size(name, count), seed)
        return lambda epoch: chosen[order(len(chosen), seed, epoch)]
    if name in ("weighted", "balanced-batch", "stratified"):
        classes: Integers = samples.targets
        if classes.ndim != 1:
            raise ConfigError(
                f"sampler {name} is for one class a sample; these {samples.kind.nouns} have labels or values: use random"
            )
        if name == "weighted":
            return lambda epoch: weighted(classes, seed, epoch)
        by_class = balanced if name == "balanced-batch" else stratified
        return lambda epoch: by_class(classes, batch_size, seed, epoch)
    return _registered(name, samples, seed)


def weighted(classes: Integers, seed: int, epoch: int) -> Integers:
    """As many samples as there are, drawn with replacement, each with a probability of one over the size of its class: torch's
    WeightedRandomSampler with such weights. Every class is as frequent as any other; some samples come twice, others not at all."""
    sums = np.cumsum(1 / np.bincount(classes)[classes])
    uniform = (bits_of(ORDER, seed, epoch).random_raw(len(classes)) >> np.uint64(11)) * 2.0**-53
    found: Integers = np.searchsorted(sums, uniform * sums[-1], side="right").astype(np.int64)
    return np.minimum(found, len(classes) - 1)


def balanced(classes: Integers, batch_size: int, seed: int, epoch: int) -> Integers:
    """As many samples as there are, every batch as even over the classes as it can be: their numbers in it differ by one at most.

    Those of a class come in turn: none comes twice before the others of its class have come once.
    """
    bits = bits_of(ORDER, seed, epoch)
    present = np.unique(classes)
    turns = present[permutation(bits, len(present))]
    batch, place = np.divmod(np.arange(len(classes)), batch_size)
    even = batch_size // len(turns) * len(turns)  # places of a batch with every class alike; the rest goes round the classes
    turn = np.where(place < even, place, batch * (batch_size - even) + place - even)
    drawn = turns[turn % len(turns)]
    found = np.empty(len(classes), np.int64)
    for one in present:
        members, places = np.flatnonzero(classes == one), np.flatnonzero(drawn == one)
        rounds = [members[permutation(bits, len(members))] for _ in range(0, len(places), len(members))]
        found[places] = np.concatenate([*rounds, members[:0]])[: len(places)]
    return _mix_within(found, batch, bits)


def stratified(classes: Integers, batch_size: int, seed: int, epoch: int) -> Integers:
    """A permutation in which every batch has the classes in the proportion of the whole, to less than two samples of each."""
    bits = bits_of(ORDER, seed, epoch)
    mixed = permutation(bits, len(classes))
    rows = mixed[np.argsort(classes[mixed], kind="stable")]  # class by class, and within each at random
    full = (len(rows) - 1) // batch_size
    short = len(rows) - full * batch_size
    last = (np.arange(short) * 2 + 1) * len(rows) // (2 * short)  # evenly spaced: the last batch, which may be a short one
    rest = np.delete(rows, last)
    batch = permutation(bits, full)[np.arange(len(rest)) % full] if full else rest  # the others are dealt out like cards
    return _mix_within(np.concatenate([rest, rows[last]]), np.concatenate([batch, np.full(short, full)]), bits)


def _mix_within(rows: Integers, batch: Integers, bits: np.random.PCG64) -> Integers:
    """Batch by batch, and within each at random: a rank takes an adjoining part."""
    return rows[np.lexsort((bits.random_raw(len(rows)), batch))]


def length_grouped(sizes: Integers, batch_size: int, seed: int, epoch: int) -> Integers:
    """A permutation whose batches have samples of like size, as transformers' LengthGroupedSampler: at random into groups of at most 50
    batches, each of them sorted. Then the batches are mixed; that with the largest sample comes first, so that too little memory shows
    at once, and a short one last."""
    bits = bits_of(ORDER, seed, epoch)
    mixed = permutation(bits, len(sizes))
    group = max(1, min(len(sizes) // (batch_size * 4), MEGA_BATCH)) * batch_size
    batches = cut(mixed[np.lexsort((-sizes[mixed], np.arange(len(sizes)) // group))], batch_size)
    short = batches[-1:] if len(batches[-1]) < batch_size else []
    whole = batches[: len(batches) - len(short)]
    turns = permutation(bits, len(whole)).tolist()
    if turns:
        largest = max(turns, key=lambda turn: int(sizes[whole[turn][0]]))
        turns = [largest, *(turn for turn in turns if turn != largest)]
    return np.concatenate([*(whole[turn] for turn in turns), *short])


def subset(count: int, size: int, seed: int) -> Integers:
    """`size` of `count` indices at random, without replacement, sorted; the same in every epoch."""
    return np.sort(permutation(bits_of(SUBSET, seed), count)[:size])


def _size(name: str, count: int) -> int:
    number = name.partition(":")[2]
    if not number.isdecimal() or not 1 <= int(number) <= count:
        raise ConfigError(f"sampler {name}: write subset:N, with N between 1 and {count:,}, the samples to train on")
    return int(number)


def _registered(name: str, samples: SampleSet, seed: int) -> Order:
    """A user's sampler, whose orders are checked."""
    function = registry.function("sampler", name)

    def ask(epoch: int) -> Integers:
        return _indices(f"sampler {name}, epoch {epoch}", function(samples, seed, epoch), len(samples))

    _check_pure(f"sampler {name}", [ask(0).tolist() for _ in range(2)])
    return ask


def _batches(name: str, samples: SampleSet, seed: int) -> Draw:
    """A user's batch sampler, whose orders are checked."""
    function = registry.function("batch_sampler", name)

    def ask(epoch: int) -> list[Integers]:
        given = function(samples, seed, epoch)
        if given is None or not (batches := list(given)):
            raise ConfigError(f"batch_sampler {name}, epoch {epoch}: it gave no batch; expected lists of indices")
        return [
            _indices(f"batch_sampler {name}, epoch {epoch}, batch {number}", batch, len(samples))
            for number, batch in enumerate(batches)
        ]

    _check_pure(f"batch_sampler {name}", [[batch.tolist() for batch in ask(0)] for _ in range(2)])
    return ask


def _indices(place: str, given: Any, count: int) -> Integers:
    """`[n] int64`, n at least one. Raises: ConfigError for what is not a list of indices."""
    try:
        found = np.asarray(list(given))
    except (TypeError, ValueError):
        raise ConfigError(f"{place}: it gave a {type(given).__name__}; expected indices of samples") from None
    if found.ndim != 1 or not len(found) or not np.issubdtype(found.dtype, np.integer):
        raise ConfigError(f"{place}: it gave an array {list(found.shape)} of {found.dtype}; expected one or more whole numbers")
    beyond = found[(found < 0) | (found >= count)]
    if len(beyond):
        raise ConfigError(f"{place}: it gave the index {beyond[0]}; there are {count:,} samples, numbered from 0")
    return found.astype(np.int64)


def _check_pure(place: str, orders: list[Any]) -> None:
    """Raises: ConfigError if the orders for one epoch differ: no other process, and no resumed run, would see the same samples."""
    if orders[0] != orders[1]:
        raise ConfigError(
            f"{place}: asked twice for one epoch, it gave two orders; draw from a generator seeded with (seed, epoch)"
        )
