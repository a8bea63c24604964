"""Networks of torch as files for other libraries, kept in folders that are there whole or not at all.

ONNX is written by torch itself. OpenVINO reads TorchScript by a front end that needs both libraries in one process: a passing one, as this
one never loads an engine's library. It gets the traced network in shared memory; what `torch.jit.save` wrote there a moment before is
the one thing that is read in which pickle's format occurs, by torch's C++ reader, which makes tensors and numbers of it and calls nothing.

A converted network is always read back from its files, also when they are thrown away at once: so that a network converted now and one
found from last time give the same bits, and none shares memory with weights that may be trained later.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo import cache, folders
from zoo.cache import warn_once
from zoo.engines.engine import detached, fill
from zoo.errors import CheckpointError, ConfigError, OutputError, first_line
from zoo.runtimes.libraries import TITLES, installed_version
from zoo.runtimes.process import RuntimeProcess


@dataclass(frozen=True)
class Conversion:
    """How networks become files of one library."""

    name: str
    """Of the engine."""
    file: str
    """What the library is to read."""
    any_batch: bool
    """Whether one file is for batches of any size."""
    write: Callable[[nn.Module, Tensor, Path], None]
    """Write a `detached` network into a folder."""

    def title(self, example: Tensor, varying: bool = False) -> str:
        """Name of the converted network's folder: whatever the graph depends on beside the network."""
        shape = [*map(str, example.shape[:-1]), "any" if varying else str(example.shape[-1])]
        return f"{self.name}-{installed_version(self.name)}-torch-{torch.__version__}-{'x'.join(shape[self.any_batch :])}"

    def convert(self, net: nn.Module, example: Tensor, into: Path) -> None:
        """Raises: ConfigError if the network cannot be converted; EngineFailed."""
        twin = detached(net, torch.device("cpu"), torch.contiguous_format)
        with torch.no_grad():
            self.write(twin, example, into / self.file)


def _cannot(name: str, reason: BaseException) -> ConfigError:
    return ConfigError(f"{TITLES[name]} cannot take this network: {first_line(reason)}; use the engine torch")


def _openvino(net: nn.Module, example: Tensor, path: Path) -> None:
    """Trace on two samples (one might be taken for a dimension to be dropped) and write the graph, its batch size open."""
    with RuntimeProcess("converter", title="openvino") as converter:  # imports torch meanwhile
        samples = fill(example[:2], 2).contiguous()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, on values that it takes for constants: shapes, which are
            try:
                traced = torch.jit.trace(net, samples, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
                torch.jit.save(traced, converter.inputs.path)
            except Exception as error:  # whatever tracing meets in the network
                raise _cannot("openvino", error) from error
        del traced
        converter.ask("convert", path=str(path), shape=samples.shape, dtype=str(samples.dtype).removeprefix("torch."))


def _onnx(net: nn.Module, example: Tensor, path: Path) -> None:
    """Weights go into a file beside the graph, as a graph alone ends at 2 GB."""
    try:
        with _quiet():
            torch.onnx.export(net, (example,), path, dynamo=True, verbose=False, external_data=True)
    except Exception as error:  # the exporter has a class for each of its parts, and few in common
        # Its own error is advice on debugging it; the cause says what is wrong with the network.
        raise _cannot("onnxruntime", error.__cause__ or error) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks to itself: warnings, log lines, and the graphs that it prints where it fails."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx.experimental.symbolic_shapes", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


BY_NAME = {
    "openvino": Conversion("openvino", "model.xml", any_batch=True, write=_openvino),
    "onnxruntime": Conversion("onnxruntime", "model.onnx", any_batch=False, write=_onnx),
}
"""By the name of the engine."""


@contextlib.contextmanager
def converted_files(parent: Path | None, title: str, convert: Callable[[Path], None]) -> Iterator[Path]:
    """The folder with a converted network: `parent/title` if it is whole, else what `convert` now writes into it.

    While the context lasts it is not removed, and other processes wait that want the same.

    parent: belongs to one network, the one that `convert` converts; None, or where it cannot be written: the files go with the context.
    title: of the converter, its version and the shape of the input.
    Raises: OutputError if nothing can be written anywhere; what `convert` raises.
    """
    with contextlib.ExitStack() as stack:
        if parent is not None and _kept(parent, title, convert, stack):
            yield parent / title
            return
        passing = cache.passing()
        stack.callback(cache.release, passing)
        with folders.whole(passing / title) as aside:
            convert(aside)
        yield passing / title


def _kept(parent: Path, title: str, convert: Callable[[Path], None], stack: contextlib.ExitStack) -> bool:
    """Have the network in the cache, and held there until the stack is left; False where the cache cannot be written."""
    target = parent / title
    try:
        stack.enter_context(cache.alone(parent, title))
    except OSError:  # it can be read all the same
        return is_whole(target)
    if is_whole(target):
        return True
    if target.exists():
        warn_once(f"{target}: damaged; the network is converted again")
    try:
        with folders.whole(target, replace=True) as aside:
            convert(aside)
    except OutputError as error:
        warn_once(f"{error}: the converted network is kept for this command alone")
        return False
    return True


def is_whole(folder: Path) -> bool:
    """Whether a converted network is there and undamaged."""
    try:
        folders.verify(folder)
    except CheckpointError:
        return False
    return True
