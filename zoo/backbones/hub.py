"""The Hub and its local cache, asked so that no answer is waited for longer than seconds. No torch here.

The Hub's own client retries an unreachable host for half a minute and a silent one for minutes; so the very file that is wanted
is asked for first, once, in a thread of its own (a name server that does not answer cannot be given a time limit otherwise).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx2
from huggingface_hub import constants, get_session, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

PATIENCE = 3.0
"""Seconds within which the Hub has to answer the first request."""
TRIES = 3
"""How often a download is begun: a reset connection escapes the client's own retries."""


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
            raise Unavailable(f"{constants.ENDPOINT} refuses {repository} (status {status}; private, gated, or no such name)")
        return _download(repository, name)
    raise AssertionError("no file names")


def complete(repository: str, revision: str, names: Sequence[str]) -> None:
    """Fetch those of these files that the repository has into the cache, beside others of the same revision. Raises: Unavailable."""
    if constants.is_offline_mode():
        raise Unavailable("HF_HUB_OFFLINE forbids to ask the Hub")
    for name in names:
        if _status(hf_hub_url(repository, name, revision=revision)) != 404:
            _download(repository, name, revision)


def _status(url: str) -> int:
    """HTTP status of a HEAD request, redirections not followed. Raises: Unavailable if there is no answer in time."""
    answers: list[int | Exception] = []

    def ask() -> None:
        try:
            answers.append(get_session().head(url, timeout=PATIENCE, follow_redirects=False).status_code)
        except (httpx2.HTTPError, OSError) as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE + 0.5)
    answer = answers[0] if answers else TimeoutError()
    if isinstance(answer, Exception):
        raise Unavailable(f"{constants.ENDPOINT} cannot be reached ({type(answer).__name__})") from answer
    return answer


def _download(repository: str, name: str, revision: str | None = None) -> Path:
    for attempt in range(1, TRIES + 1):
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except (EntryNotFoundError, HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            reset = isinstance(error, httpx2.TransportError) and not isinstance(error, LocalEntryNotFoundError)
            if not reset or attempt == TRIES:
                line = str(error).strip().partition("\n")[0]
                raise Unavailable(f"fetching {name} of {repository} failed ({type(error).__name__}: {line})") from error
    raise AssertionError("every attempt returns or raises")
