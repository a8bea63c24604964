"""What an inert part of a network gives, computed once for each sample and kept on the disk.

A row is found again by the digest of its sample's bytes, in the space of everything else that it depends on: weights, where the network
is cut, preprocessing, precision, engine. So other runs and other heads share it, a changed sample is computed anew, and what was
killed goes on where it stopped. (What an engine gives may depend, in the last bits, on a sample's place in its batch; batches are
taken in order and shards hold whole ones, so going on gives the bytes of an unbroken run.)
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from zoo import cache, decisions, engines, imports, interrupts
from zoo.backbones.backbone import Backbone, Preprocess
from zoo.cache import Integers, Keys, Rows, Shards, Space
from zoo.config import FinetuneConfig
from zoo.data.loading.loaders import EvalBatches, loading
from zoo.data.sets import SampleSet
from zoo.decisions import Decision
from zoo.engines import Engine
from zoo.errors import EngineFailed, NonFinite
from zoo.options import Scalar
from zoo.plugins import AUGMENTATIONS
from zoo.streams import Bar
from zoo.training.collect import channels_last

log = logging.getLogger("zoo")

FEW = 64
"""Samples from which reading them in other processes pays for starting these."""
_MORE = 4
"""Times as many rows as an engine has computed it may be given without choosing anew."""
BATCH = 32
"""Texts or audio clips in a batch."""
_ANEW = "`zoo cache clear decisions`"
"""What has an engine that failed tried again."""
FORMAT = 2
"""To be raised whenever rows with the same facts would be others, as when the same file is read as another sample."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """A set of samples whose rows are asked for."""

    samples: SampleSet
    augment: str = "none"
    """How the samples are varied; `none`: not at all."""
    view: int = 0
    """As which epoch of training varies them."""

    @cached_property
    def keys(self) -> Keys:
        """What the rows are found by, `[N]`."""
        return keys_of(self.samples, self.augment)

    @cached_property
    def known(self) -> bool:
        """Whether each sample has a digest, so that its row can be found by other runs."""
        return bool(self.samples.digests.astype(bool).all())


@dataclass
class Work:
    """What extraction has cost so far."""

    nouns: str
    """What people call the samples: `images`."""
    computed: int = 0
    """Samples that were run through the network, by all processes of the run."""
    found: int = 0
    """Samples whose rows were there."""
    seconds: float = 0.0
    """Wall time of finding, reading and computing."""
    waited: float = 0.0
    """Of these, seconds in which the engine waited for samples."""
    engines: list[str] = field(default_factory=list)
    """Name of each engine whose rows are used."""
    workers: int | None = None
    """Processes that read, where they were timed."""

    def __str__(self) -> str:
        rate = (
            f", {self.computed / self.seconds:,.0f} {self.nouns}/s, {self.waited / self.seconds:.0%} of the time waiting for them"
        )
        done = f"{self.computed:,} computed in {self.seconds:.1f} s{rate if self.computed else ''}"
        whole = f"{self.computed + self.found:,} {self.nouns} by {', '.join(self.engines)}"
        return f"features of {whole}: {done}; {self.found:,} were there"


class Extractor:
    """The inert part of a network over sets of samples. A context: on leaving it, what is not to be kept goes."""

    def __init__(
        self,
        prefix: nn.Module,
        where: str,
        backbone: Backbone,
        config: FinetuneConfig,
        device: torch.device,
        *,
        precision: str = "no",
        together: Accelerator | None = None,
        expected: int = 0,
        choose_workers: Callable[[SampleSet], int] | None = None,
    ) -> None:
        """
        Args:
            prefix: a batch that is ready to one tensor `[B, ...]`; in eval mode, and never changed.
            where: what that is: `pooled features`, `tokens`, `the input of blocks.5`.
            backbone: whose weights, as they were loaded, `prefix` has.
            config: cache, engine, workers, seed.
            device: where torch computes.
            precision: `no` for fp32, `bf16` or `fp16`.
            together: the processes that share the work, and all call `rows`; None: this one works alone.
            expected: samples to come in all, by which an engine is chosen; as many as the first set has, if those are more.
            choose_workers: finds how many processes should read, before the first that are many are read; None: the config says.
        """
        self.network = _Ready(backbone.preprocess, prefix)
        self.where, self.backbone, self.config = where, backbone, config
        self.device, self.precision = device, precision
        self._rank: int = together.process_index if together else 0
        self._world: int = together.num_processes if together else 1
        self._meet = together.wait_for_everyone if together else lambda: None
        self.root = cache.place(config.machine.cache)
        self._choose_workers = choose_workers
        self.work, self.expected = Work(backbone.preprocess.kind.nouns), expected
        self._engine: Engine | None = None
        self._wanted = ("", 0)
        self._begun: tuple[Wanted, Space] | None = None
        self._spaces: list[Path] = []
        self._passing: list[Path] = []

    def __enter__(self) -> Extractor:
        cache.sweep()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._engine is not None:
            self._engine.close()
        if self._rank:
            return
        for path in self._passing:
            cache.release(path)
        if self.root is not None and self.work.computed:
            cache.trim(self.root, int(self.config.machine.cache_gb * 1e9), spare=self._spaces)

    def samples(self, samples: SampleSet, count: int) -> torch.Tensor:
        """The first samples, as they are read: a batch of `Preprocess.collate`."""
        some = np.arange(min(count, len(samples)), dtype=np.int64)
        (batch,) = self._batches(samples.subset(some), some, len(some), "none", 0)
        return batch.inputs[batch.indices.argsort()]

    def settled(self, wanted: Sequence[Wanted]) -> dict[str, Scalar]:
        """The options that say how rows are computed, decided by the first of these sets; to be written down before `all_rows` is called
        with the same sets.

        All processes call it. Raises: as `all_rows`.
        """
        began = time.perf_counter()
        self._begun = (wanted[0], self._space(wanted[0], wanted))
        self.work.seconds += time.perf_counter() - began
        return self.options

    @property
    def options(self) -> dict[str, Scalar]:
        """The options that say how the last rows were computed."""
        return {"engine": self.config.machine.engine, "feature_batch_size": self.config.machine.feature_batch_size}

    def rows(self, samples: SampleSet, augment: str = "none", view: int = 0) -> Rows:
        """As `all_rows`, of one set."""
        return self.all_rows([Wanted(samples, augment, view)])[0]

    def all_rows(self, wanted: Sequence[Wanted]) -> list[Rows]:
        """What the prefix gives for each sample of each set, `[N, ...] float32`, in their order. All processes call it, and get the same.

        All are by one engine: where it fails, at whichever set, torch computes the rows of all of them.

        Raises: DataError naming a sample that cannot be read; RunFailed if a worker dies; NonFinite naming a sample; OutputError if
        neither the cache nor a passing folder can be written; ConfigError for an engine that cannot be had.
        """
        began = time.perf_counter()
        found = None
        while found is None:
            found = self._by_one_engine(wanted)
        self.work.seconds += time.perf_counter() - began
        return found

    def _by_one_engine(self, wanted: Sequence[Wanted]) -> list[Rows] | None:
        """The rows of all sets; None if the engine failed, so that torch is to begin anew."""
        found: list[Rows] = []
        used: set[str] = set()
        computed = 0
        for one in wanted:
            space = self._space(one, wanted)
            used.add(self._wanted[0])
            count = self._fill(space, one) if len(used) == 1 else None  # it may fail before it has computed anything
            if count is None:
                return None
            computed += count
            found.append(space.rows(one.keys))
        self.work.engines += used - set(self.work.engines)
        self.work.computed += computed
        self.work.found += sum(len(one.keys) for one in wanted) - computed
        return found

    def _fill(self, space: Space, one: Wanted) -> int | None:
        """Have a row for every key; how many the processes of this run computed, or None if an engine failed. The first claims for all,
        and never waits for other runs for long at a time: those who wait for it would give up."""
        if self._world == 1:
            try:
                return space.fill(one.keys, lambda mine: self._compute(space, one, mine))
            except EngineFailed as error:
                self._torch_goes_on(error)
                return None
        count = 0
        while True:
            with nullcontext() if self._rank else space.claim(one.keys) as claimed:
                mine = self._told(claimed)
                if mine is not None and len(mine):
                    failed = self._failure(lambda mine=mine: self._compute(space, one, mine))  # type: ignore[misc]
                    if failed is not None:
                        self._torch_goes_on(failed)
                        return None
                    space.add_folders(self._gathered(space.beside))
                    count += len(mine)
                space.refresh()
                self._meet()  # what is claimed stays until all have it open
                if mine is None:
                    return count
                if len(mine):
                    space.check_written(one.keys[mine])

    def _failure(self, compute: Callable[[], None]) -> EngineFailed | None:
        """How the engine of one of the processes failed while all computed."""
        failed: EngineFailed | None = None
        try:
            compute()
        except EngineFailed as error:
            failed = error
        found = [one for one in gather_object([None if failed is None else str(failed)]) if one is not None]
        return EngineFailed(found[0]) if found else None

    def _torch_goes_on(self, failure: EngineFailed) -> None:
        """Have torch compute what is still to come, and what the engine has computed for this run: rows of two engines are not mixed."""
        ran = self._engine is not None and self._engine.name != "torch"  # one that cannot start may be well again the next time
        if self._engine is not None:
            self._engine.close()
        self._engine, self.config = None, self.config.replace(engine="torch")
        if not self._rank:
            decided = Decision({"engine": "torch"}, f"{failure}, in an earlier run of this network")
            kept = ran and decisions.keep(self.root, self._failing(), decided)
            later = f", as in later runs of this network (until {_ANEW})" if kept else ""
            log.warning("%s; torch goes on, with all features of this run%s", failure, later)

    def _told(self, claimed: Integers | None) -> Integers | None:
        """What the first process says to all."""
        said: list[Any] = [claimed]
        broadcast_object_list(said)
        found: Integers | None = said[0]
        return found

    def _gathered(self, path: Path | None) -> list[Path]:
        """Where the processes keep what the cache did not take."""
        return [one for one in gather_object([path]) if one is not None]

    def _space(self, one: Wanted, wanted: Sequence[Wanted]) -> Space:
        """Where the rows of a set are, or will be; decided by the first process for all.

        wanted: all the sets that are asked for with it.
        """
        begun, self._begun = self._begun, None
        if begun is not None and begun[0] is one:
            return begun[1]
        decided: list[Any] = [None]
        if not self._rank:
            root = self.root if one.known else None
            self._decide(one, wanted)
            path, facts = self._existing(one)
            if path is None:
                try:
                    facts = self._new_facts(one)
                except EngineFailed as error:
                    self._torch_goes_on(error)
                    facts = self._new_facts(one)
                path = self._folder(root, facts)
            decided = [(str(path), facts)]
        if self._world > 1:
            broadcast_object_list(decided)
        path, facts = Path(decided[0][0]), decided[0][1]
        self._spaces.append(path)
        self._wanted = (facts["engine"], facts["batch"])
        self.config = self.config.replace(engine=facts["engine"], feature_batch_size=facts["batch"])
        return Space(path, tuple(facts["shape"]), "<f4")

    def _facts(self, augment: str, view: int) -> dict[str, Any]:
        """Everything that rows depend on beside their samples and the engine, as JSON gives it back."""
        backbone = self.backbone
        varied = {"augment": augment, "view": view, "seed": self.config.machine.seed} if augment != "none" else {}
        if version := AUGMENTATIONS.version(augment):
            varied["augment"] = f"{augment} {version}"
        facts = {
            "format": FORMAT,
            "what": self.where,
            "backbone": backbone.spec.id,
            "weights": backbone.base_sha256,
            "preprocess": backbone.preprocess.to_dict() | {"decode_at": backbone.preprocess.decode_at},
            "precision": self.precision,
            "device": self.device.type,
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts | varied))
        return plain

    @property
    def _kind(self) -> str:
        return "features" if self.where in ("pooled features", "tokens") else "activations"

    def _decide(self, one: Wanted, wanted: Sequence[Wanted]) -> None:
        """Settle engine and batch size where they were not given. Two records: what was decided for these very samples, so that equal
        runs are equal whatever else is computed meanwhile; and what was measured for so many, so that it is measured once. A third says
        that an engine failed: then none but torch computes anything."""
        machine, settles = self.config.machine, ("engine", "feature_batch_size")
        asked = {name: getattr(machine, name) for name in settles}
        if not ("auto" in asked.values() or None in asked.values()):
            return
        failed = decisions.known(self.root, self._failing(), ("engine",)) if machine.engine == "auto" else None
        common, root = self._facts(one.augment, one.view), self.root if one.known else None
        facts = self._here() | {"asked": asked, "threads": torch.get_num_threads()}
        same = hashlib.sha256(one.keys.tobytes()).hexdigest()
        count = max(self.expected, len(one.samples))

        def measured() -> Decision:
            of = self._facts("none", 0) | facts | {"samples": decisions.size(count)}
            name = "torch" if failed else machine.engine
            return decisions.once(self.root, of, settles, lambda: self._measured(one.samples, name, count))

        def found_or_measured() -> Decision:
            path, found = self._existing(one)
            there = {"engine": found.get("engine"), "feature_batch_size": found.get("batch")}
            return measured() if path is None else Decision(there, f"features of this network were computed so before, in {path}")

        decided = decisions.once(root, common | facts | {"samples": same}, settles, found_or_measured)
        self.config = self.config.replace(**decided.options)
        if failed and decided.options["engine"] != "torch" and not all(map(self._is_there, wanted)):
            self.config = self.config.replace(**failed.options)
        if failed and self.config.machine.engine == "torch":
            log.warning("%s; torch is used, until %s", failed.why, _ANEW)

    def _here(self) -> dict[str, Any]:
        """The facts of this machine that the speed of engines depends on."""
        here = decisions.machine(["torch", "openvino", "onnxruntime", self.backbone.spec.loader])
        on_gpu = self.device.type == "cuda"
        return here | {"processor": torch.cuda.get_device_name(self.device) if on_gpu else here["processor"]}

    def _failing(self) -> dict[str, Any]:
        """The facts of a decision for torch because another engine has failed, with this network on this machine."""
        return self._facts("none", 0) | self._here() | {"failed": True}

    def _measured(self, samples: SampleSet, name: str, count: int) -> Decision:
        """The engine for so many samples, as timed on the first of them."""
        batch = self.config.machine.feature_batch_size
        self._engine, said = self._choose(self.samples(samples, 64), name, count, batch)
        log.info("%s", said)
        options: dict[str, Scalar] = {"engine": self._engine.name, "feature_batch_size": self._engine.batch_size}
        return Decision(options, said, lasting=not self._engine.stands_in)

    def _is_there(self, one: Wanted) -> bool:
        """Whether all rows of a set have been computed, by the engine and in the batches that were decided on."""
        path, facts = self._existing(one)
        return path is not None and bool(Space(path, tuple(facts["shape"]), "<f4").has(one.keys).all())

    def _existing(self, one: Wanted) -> tuple[Path | None, dict[str, Any]]:
        """The space that has most of a set's rows, by the engine and in the batches that were asked for; None if what is missing is so
        much more than there is that the engine is better chosen anew."""
        machine, keys, common = self.config.machine, one.keys, self._facts(one.augment, one.view)
        root = self.root if one.known else None
        best: tuple[int, Path | None, dict[str, Any]] = (-1, None, {})
        for file in sorted((root / self._kind).glob(f"*/{cache.FACTS}")) if root else []:
            facts = cache.read_facts(file.parent) or {}  # another process may be removing it
            if (
                all(facts.get(name) == value for name, value in common.items())
                and machine.engine in ("auto", facts["engine"])
                and machine.feature_batch_size in (None, facts["batch"])
            ):
                space = Space(file.parent, tuple(facts["shape"]), "<f4")
                has = int(space.has(keys).sum())
                can = has == len(keys) or facts["engine"] in engines.installed()
                if can and has > best[0] and len(keys) - has <= _MORE * len(space):
                    best = (has, file.parent, facts)
        if best[1] is not None:
            cache.folder(root, self._kind, best[2])  # marks it as used
        return best[1], best[2]

    def _new_facts(self, one: Wanted) -> dict[str, Any]:
        """The facts with the engine in them that was decided on, or torch, where that cannot be had any more."""
        first, machine = self.samples(one.samples, 64), self.config.machine
        if self._engine is None or (self._engine.name, self._engine.batch_size) != (machine.engine, machine.feature_batch_size):
            self._engine, _ = self._choose(first, machine.engine, len(one.samples), machine.feature_batch_size)
        engine = self._engine
        shape = list(engine(first[:1]).shape[1:])
        own = {"engine": engine.name, "version": engine.version, "batch": engine.batch_size, "shape": shape}
        return self._facts(one.augment, one.view) | own

    def _choose(self, first: torch.Tensor, name: str, samples: int, batch_size: int | None) -> tuple[Engine, str]:
        """An engine that agrees with torch on the first samples, and a line about it."""
        preprocess = self.backbone.preprocess
        varying = preprocess.varying
        if varying:
            batch_size = batch_size or BATCH
        name = engines.among(name, preprocess.engines, preprocess.kind.nouns)
        facts = self._facts("none", 0) | {"input": str(first.dtype)}
        return engines.choose(
            self.network,
            first,
            name=name,
            samples=samples,
            device=self.device,
            channels_last=channels_last(self.backbone),
            precision=self.precision,
            folder=cache.folder(self.root, "engines", facts),
            batch_size=batch_size,
            varying=varying,
        )

    def _folder(self, root: Path | None, facts: dict[str, Any]) -> Path:
        path = cache.folder(root, self._kind, facts)
        if path is None:
            path = cache.passing()
            self._passing.append(path)
        return path

    def _batches(self, samples: SampleSet, only: Integers, size: int, augment: str, view: int) -> EvalBatches:
        return EvalBatches(
            samples,
            self.backbone.preprocess,
            batch_size=size,
            augment=augment,
            only=only,
            epoch=view,
            seed=self.config.machine.seed,
            **loading(self.config.loader, self._workers(samples) if len(only) > FEW else 0, self.device.type),
        )

    def _workers(self, samples: SampleSet) -> int:
        """Processes that read. They are timed once, and only where there is much to read: in a later run all rows may be there."""
        if self._choose_workers is not None:
            self.work.workers = self._choose_workers(samples)
            self.config = self.config.replace(num_workers=self.work.workers)
            self._choose_workers = None
        return self.config.data.num_workers or 0

    def _compute(self, space: Space, one: Wanted, missing: Integers) -> None:
        """Run this process's share of the missing samples through the network, every so-manieth batch, and keep the rows."""
        samples, engine = one.samples, self._ready(one.samples)
        size, rank, world = engine.batch_size, self._rank, self._world
        parts = [missing[start : start + size] for start in range(rank * size, len(missing), world * size)]
        if not parts:
            return
        mine = np.concatenate(parts)
        batches = iter(self._batches(samples, mine, size, one.augment, one.view))
        with interrupts.deferred(), Bar(len(mine), f"{self.where}, {engine.name}") as bar, Shards(space) as shards:
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                self.work.waited += time.perf_counter() - began
                if batch is None:
                    break
                imports.ahead()
                rows = engine(batch.inputs)
                bad = np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))
                if len(bad):
                    name = samples.name(int(batch.indices[bad[0]]))
                    if engine.name != "torch":
                        raise EngineFailed(f"the engine {engine.name} gives NaN or infinite features for {name}")
                    raise NonFinite(f"{name}: the network gives NaN or infinite features; other weights, or --precision no")
                shards.add(one.keys[batch.indices.numpy()], rows)
                bar.advance(len(rows))
                interrupts.check()

    def _ready(self, samples: SampleSet) -> Engine:
        """The engine that `_space` decided on. Raises: EngineFailed if it cannot be had any more."""
        name, batch = self._wanted
        if self._engine is None or (self._engine.name, self._engine.batch_size) != (name, batch):
            self._engine, _ = self._choose(self.samples(samples, 64), name, len(samples), batch)
            if self._engine.name != name:
                raise EngineFailed(f"the engine {name}, whose features are in the cache, cannot go on (see above)")
        return self._engine


class _Ready(nn.Module):
    """A network on batches as they are read. Making them ready is part of what an engine converts: between it and other threads that
    decode, normalising images beside costs half as much as the whole forward pass of a small network."""

    def __init__(self, preprocess: Preprocess, network: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.network = preprocess, network
        self.eval()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.network(self.preprocess.ready(batch))
        return rows


def keys_of(samples: SampleSet, augment: str) -> Keys:
    """What a sample's row is found by: the digest of its bytes; its place too, where that decides how it is varied."""
    if augment == "none" and samples.digests.astype(bool).all():
        return samples.digests
    texts = (f"{samples.digest(index) or samples.name(index)} {index}" for index in range(len(samples)))
    return np.array([hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest() for text in texts], cache.KEY)
