"""A disk that is full or read-only in the midst: one line, and once there is room, the run goes on to the bytes of an undisturbed one."""

import io
import logging
import re
from collections.abc import Callable

import pytest
from faults.disks import can_be_immutable, immutable, small_disk
from faults.running import OPTIONS, bytes_of, photos

from zoo import api
from zoo.errors import OutputError, RunFailed, ZooError


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A run, with TensorBoard."""
    return {**OPTIONS, "data": photos(tmp_path_factory.mktemp("data") / "photos")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, options):
    """What a run leaves that nothing disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    api.finetune(**options, out=str(out))
    return bytes_of(out)


def goes_on(out, undisturbed):
    assert api.resume(out).status == "finished"
    assert bytes_of(out) == undisturbed


def one_line(error, caplog, out):
    assert isinstance(error, ZooError)
    assert "\n" not in str(error)
    assert "Traceback" not in caplog.text
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) < 8
    if isinstance(error, RunFailed):
        assert f"zoo resume {out}" in str(error)


FREE = [50_000, 400_000]
"""Bytes left: for nothing but the first files; for a checkpoint or two."""


@pytest.mark.parametrize("free", [*FREE, *(pytest.param(30_000 * number, marks=pytest.mark.slow) for number in range(3, 40, 3))])
def test_a_run_that_fills_its_disk(tmp_path, undisturbed, options, caplog, free):
    with small_disk(tmp_path / "disk") as disk:
        out = disk.path / "run"
        with disk.full(free):
            try:
                api.finetune(**options, out=str(out))
            except (RunFailed, OutputError) as error:
                one_line(error, caplog, out)
        if out.exists():
            goes_on(out, undisturbed)


class _Watched(io.StringIO):
    """A stderr that does something once a line says so."""

    def __init__(self, sign: str, act: Callable[[], None]) -> None:
        super().__init__()
        self.sign, self.act, self.done = sign, act, False

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.sign in self.getvalue() and not self.done:
            self.done = True
            self.act()
        return written


def test_a_run_whose_folder_becomes_read_only(tmp_path, undisturbed, options, caplog, monkeypatch):
    if not can_be_immutable(tmp_path):
        pytest.skip("root alone can make a folder read-only for itself, and not on every file system")
    out = tmp_path / "run"
    with immutable() as lock:
        monkeypatch.setattr("sys.stderr", _Watched("step 3", lambda: lock(out)))  # said after the first of two evaluations
        with pytest.raises(RunFailed, match="Operation not permitted") as failed:
            api.finetune(**options, out=str(out))
    one_line(failed.value, caplog, out)
    assert re.search(r"metrics\.jsonl cannot be written: Operation not permitted", caplog.text)
    goes_on(out, undisturbed)
