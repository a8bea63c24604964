"""Shared by every test: no network, caches of their own, one torch thread."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

GUARD = Path(__file__).parent / "guard"
sys.path.insert(0, str(GUARD))
import sitecustomize as guard  # noqa: E402

if not hasattr(guard, "NetworkRefused"):  # the interpreter imported a sitecustomize of its own at start-up
    del sys.modules["sitecustomize"]
    import sitecustomize as guard

os.environ["PYTHONPATH"] = os.pathsep.join([str(GUARD), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Under nohup, or in the background of a shell, these are ignored, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import pytest  # noqa: E402

USERS_OWN = ("ZOO_CACHE", "XDG_CACHE_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN", "WORLD_SIZE", "RANK")
"""Variables of whoever runs the tests that would lead zoo to other folders, hosts or processes."""


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder, caches and a home that no other test and no user has touched."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in USERS_OWN:
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for installed packages (`packages.install`), on the path."""
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    return place


COMPLETE = "ZOO_TESTS_COMPLETE"
"""Set where everything that tests need is to be there: one that is left out because something is not installed fails."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[misc]
    if report.skipped and os.environ.get(COMPLETE) and "not installed" in str(report.longrepr):
        report.outcome = "failed"
    return report  # type: ignore[return-value]
