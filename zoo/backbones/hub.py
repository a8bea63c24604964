"""The Hub and its local cache, asked so that no answer is waited for longer than seconds. No torch here.

The Hub's own client retries an unreachable host for half a minute and a silent one for minutes; so the very file that is wanted
is asked for first, in a thread of its own (a name server that does not answer cannot be given a time limit otherwise). A Hub that
answers, and fails, is asked again (`zoo.backbones.hub_faults`).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from zoo.backbones import hub_faults

PATIENCE = 3.0
"""Seconds within which the Hub has to answer the first request."""


class Unavailable(Exception):
    """Why the Hub has not given a file; completes a sentence after `and`."""


def cached(repository: str, names: Sequence[str]) -> Path | None:
    """The first of these files that the local cache has."""
    for name in names:
        try:
            found = try_to_load_from_cache(repository, name)
        except HFValidationError:  # a name that the Hub could not have
            return None
        if isinstance(found, str):
            return Path(found)
    return None


def expected_sha256(path: Path) -> str | None:
    """The sha256 under which the cache keeps this file; None where it keeps it under another kind of name."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


def reach(repository: str, name: str) -> None:
    """Make sure that the Hub answers. Raises: Unavailable if it does not, or may not be asked."""
    if constants.is_offline_mode():
        raise Unavailable("HF_HUB_OFFLINE forbids to ask the Hub")
    _status(hf_hub_url(repository, name))


def download(repository: str, names: Sequence[str]) -> Path:
    """The first of these files that the repository has, fetched into the cache. Raises: Unavailable."""
    if constants.is_offline_mode():
        raise Unavailable("HF_HUB_OFFLINE forbids to ask the Hub")
    for name in names:
        status = _status(hf_hub_url(repository, name))
        if status == 404 and name != names[-1]:
            continue
        if status in (401, 403):
            refused = f"{hub_faults.endpoint()} refuses {repository} (status {status}; private, gated, or no such name)"
            raise Unavailable(f"{refused}; `hf auth login` if it is yours, accept its terms there if it has any")
        return _download(repository, name)
    raise AssertionError("no file names")


def complete(repository: str, revision: str, names: Sequence[str]) -> None:
    """Fetch those of these files that the repository has into the cache, beside others of the same revision. Raises: Unavailable."""
    if constants.is_offline_mode():
        raise Unavailable("HF_HUB_OFFLINE forbids to ask the Hub")
    for name in names:
        if _status(hf_hub_url(repository, name, revision=revision)) != 404:
            _download(repository, name, revision)


def fetch_anew(repository: str, path: Path) -> Path:
    """Remove a damaged file from the cache, where the Hub can be asked, and fetch it again. Raises: Unavailable."""
    folder = next(folder for folder in path.parents if folder.parent.name == "snapshots")
    name, revision = path.relative_to(folder).as_posix(), folder.name
    if constants.is_offline_mode():
        raise Unavailable("HF_HUB_OFFLINE forbids to ask the Hub")
    _status(hf_hub_url(repository, name, revision=revision))
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return _download(repository, name, revision)


def _status(url: str) -> int:
    """HTTP status of a HEAD request, redirections not followed. Raises: Unavailable if there is no answer in time, or failures only."""
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else hub_faults.token()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        return hub_faults.again(lambda: _head(url, headers))
    except hub_faults.ANY as error:
        if hub_faults.status_of(error):
            raise Unavailable(f"{hub_faults.endpoint()}: {hub_faults.reason(error)}") from error
        raise Unavailable(f"{hub_faults.endpoint()} cannot be reached ({type(error).__name__})") from error


def _head(url: str, headers: dict[str, str]) -> int:
    answers: list[int | Exception] = []

    def ask() -> None:
        try:
            answer = get_session().head(url, headers=headers, timeout=PATIENCE, follow_redirects=False)
            if answer.status_code in hub_faults.PASSING:
                answer.raise_for_status()
            answers.append(answer.status_code)
        except hub_faults.ANY as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE + 0.5)
    answer = answers[0] if answers else TimeoutError()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _download(repository: str, name: str, revision: str | None = None) -> Path:
    try:
        return Path(hub_faults.again(lambda: hf_hub_download(repository, name, revision=revision)))
    except hub_faults.ANY as error:
        raise Unavailable(f"fetching {name} of {repository} failed: {hub_faults.reason(error)}") from error
