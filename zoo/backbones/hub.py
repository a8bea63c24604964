"""The Hub and its local cache, asked so that no response is awaited for longer than seconds. No torch here.

The Hub's own client retries an unreachable host for half a minute and a silent one for minutes; so the very file that is wanted
is asked for first, in a thread of its own (a name server that does not respond cannot be given a time limit otherwise). A Hub that
responds, and fails, is asked again (`again`), and its failures are said in one line (`reason`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import constants, get_session, get_token, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import FileMetadataError, HFValidationError

from zoo import upstream
from zoo.errors import ConfigError

log = logging.getLogger("zoo")

Response = TypeVar("Response")
SECONDS = "ZOO_HUB_SECONDS"
"""Variable of the environment: seconds for which a Hub that fails is asked again, or that stays silent is waited for. Default: 60."""
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try, unless the Hub asks for more."""
PASSING = (429, 500, 502, 503, 504)
"""HTTP statuses that another try may not have."""
ANY = (httpx2.HTTPError, OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError)
"""What the Hub's client raises when a response is missing, is a refusal, or is not what it expected."""
_TO_DO = {
    401: "it does not accept the token; log in again with `hf auth login`",
    403: "the token may not do this; use one with the right to, or another OWNER",
    404: "there is nothing of this name, or the token may not see it; check the name",
    409: "somebody else is changing it; wait, and give the same command again",
    412: "it was changed by somebody else meanwhile; look at it, and give the same command again",
    429: "too many requests, and waiting did not help; give the same command again later",
}
PATIENCE = 3.0
"""Seconds within which the Hub has to respond to the first request."""


def patience() -> float:
    """Seconds, as the environment has them. Raises: ConfigError."""
    text = os.environ.get(SECONDS, "60")
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", text):
        raise ConfigError(f"{SECONDS} is {text!r}; expected a number of seconds, such as 60")
    return float(text)


def again(call: Callable[[], Response]) -> Response:
    """What `call` gives. Where it fails by what may pass (a status of `PASSING`, a connection that breaks), it is called again.

    Raises: what the last call raised.
    """
    end = time.monotonic() + patience()
    with _until(end):
        for wait in WAITS:
            try:
                return call()
            except ANY as error:
                pause = max(wait, _asked_for(_response(error)))
                if not _passes(error) or time.monotonic() + pause > end:
                    raise
                log.info("%s: %s; trying again in %.1f s", endpoint(), _cause(error), pause)
                time.sleep(pause)
        return call()


@contextlib.contextmanager
def _until(end: float) -> Iterator[None]:
    """Inside, a response that asks to wait beyond `end` (of `time.monotonic`) is an error at once."""

    def refuse(response: httpx2.Response) -> None:
        if response.status_code in (408, *PASSING) and time.monotonic() + _asked_for(response) > end:
            response.read()
            response.raise_for_status()

    session = get_session()
    before = session.event_hooks
    session.event_hooks = {**before, "response": [*before["response"], refuse]}
    try:
        yield
    finally:
        session.event_hooks = before


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Inside, a call that has no limit of time of its own waits for a silent Hub no longer than `patience`."""
    session = get_session()
    before, session.timeout = session.timeout, httpx2.Timeout(patience())
    try:
        yield
    finally:
        session.timeout = before


def status_of(error: BaseException) -> int | None:
    """HTTP status of the response behind an exception."""
    return getattr(_response(error), "status_code", None)


def reason(error: BaseException) -> str:
    """Why a request failed, and what to do: one line, which completes `... at the Hub: `."""
    status = status_of(error)
    if status in _TO_DO:
        return f"{_TO_DO[status]} (status {status})"
    if status in PASSING:
        return f"it fails, also when asked again; give the same command later (status {status})"
    if any(isinstance(one, (json.JSONDecodeError, FileMetadataError)) for one in _chain(error)):
        return (
            "what responded is not the Hub, but perhaps the login page of a network; log in there, or set HF_ENDPOINT to a mirror"
        )
    return _cause(error)


def endpoint() -> str:
    """The Hub's address, without a password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def login_token() -> str | None:
    """The token of whoever is logged in. Raises: ConfigError for one that cannot be sent."""
    found = get_token()
    if found is not None and not re.fullmatch(r"[!-~]+", found):  # the client's own message would show it
        raise ConfigError("the Hub's token holds characters that no token has; log in again with `hf auth login`")
    return found


def _passes(error: BaseException) -> bool:
    chain = list(_chain(error))
    unreachable = any(isinstance(one, (httpx2.ConnectError, httpx2.TimeoutException)) for one in chain)
    broken = any(isinstance(one, (httpx2.NetworkError, httpx2.RemoteProtocolError)) for one in chain)
    return status_of(error) in PASSING or (broken and not unreachable)


def _asked_for(response: object) -> float:
    """Seconds that the Hub asks to wait, by `RateLimit` (of a response 429) or `Retry-After`, as its client reads them; 0: none."""
    headers = getattr(response, "headers", {})
    limit = upstream.rate_limit(headers) if getattr(response, "status_code", 0) == 429 else None
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    text = headers.get("Retry-After", "").strip()
    return float(text) if re.fullmatch(r"[0-9]+", text) else 0.0


def _response(error: BaseException) -> object:
    """The response behind an exception, or None."""
    responses = (getattr(one, "response", None) for one in _chain(error))
    return next((response for response in responses if response is not None), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it came from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _cause(error: BaseException) -> str:
    """The last exception's type and text; of the one that it came from, if that tells of the network."""
    told = next((one for one in _chain(error) if isinstance(one, httpx2.TransportError)), error)
    line = " ".join(str(told).split())
    status = f" (status {status_of(error)})" if status_of(error) else ""
    return _without_secrets(f"{type(told).__name__}: {line}{status}" if line else type(told).__name__)


def _without_secrets(text: str) -> str:
    secrets = [get_token() or "", *re.findall(r"//([^/@]+)@", constants.ENDPOINT)]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


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
    """Make sure that the Hub responds. Raises: Unavailable if it does not, or may not be asked."""
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
            refused = f"{endpoint()} refuses {repository} (status {status}; private, gated, or no such name)"
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
    """HTTP status of a HEAD request, redirections not followed. Raises: Unavailable if there is no response in time, or failures only."""
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else login_token()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        return again(lambda: _head(url, headers))
    except ANY as error:
        if status_of(error):
            raise Unavailable(f"{endpoint()}: {reason(error)}") from error
        raise Unavailable(f"{endpoint()} cannot be reached ({type(error).__name__})") from error


def _head(url: str, headers: dict[str, str]) -> int:
    responses: list[int | Exception] = []

    def ask() -> None:
        try:
            response = get_session().head(url, headers=headers, timeout=PATIENCE, follow_redirects=False)
            if response.status_code in PASSING:
                response.raise_for_status()
            responses.append(response.status_code)
        except ANY as error:
            responses.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE + 0.5)
    response = responses[0] if responses else TimeoutError()
    if isinstance(response, Exception):
        raise response
    return response


def _download(repository: str, name: str, revision: str | None = None) -> Path:
    try:
        return Path(again(lambda: hf_hub_download(repository, name, revision=revision)))
    except ANY as error:
        raise Unavailable(f"fetching {name} of {repository} failed: {reason(error)}") from error
