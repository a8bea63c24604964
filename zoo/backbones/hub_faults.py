"""What a failed request to the Hub means: whether it is made again, and what to do, in a line without the token. No torch here.

Of the Hub's own client, some calls try again by themselves, and wait for as long as the Hub asks, be it hours; and some, such as the commit
of a publication, do not try again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx2
from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import FileMetadataError

from zoo import upstream
from zoo.errors import ConfigError

log = logging.getLogger("zoo")

Answer = TypeVar("Answer")

PATIENCE = "ZOO_HUB_SECONDS"
"""Variable of the environment: seconds for which a Hub that fails is asked again, or that stays silent is waited for. Default: 60."""
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try, unless the Hub asks for more."""
PASSING = (429, 500, 502, 503, 504)
"""HTTP statuses that another try may not have."""
ANY = (httpx2.HTTPError, OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError)
"""What the Hub's client raises when an answer is missing, is a refusal, or is not what it expected."""

_TO_DO = {
    401: "it does not accept the token; log in again with `hf auth login`",
    403: "the token may not do this; use one with the right to, or another OWNER",
    404: "there is nothing of this name, or the token may not see it; check the name",
    409: "somebody else is changing it; wait, and give the same command again",
    412: "it was changed by somebody else meanwhile; look at it, and give the same command again",
    429: "too many requests, and waiting did not help; give the same command again later",
}


def patience() -> float:
    """Seconds, as the environment has them. Raises: ConfigError."""
    text = os.environ.get(PATIENCE, "60")
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", text):
        raise ConfigError(f"{PATIENCE} is {text!r}; expected a number of seconds, such as 60")
    return float(text)


def again(call: Callable[[], Answer]) -> Answer:
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
    """Inside, the Hub's client does not see an answer that asks it to wait beyond `end` (of `time.monotonic`): that is an error at once."""

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
    """HTTP status of the answer behind an exception."""
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
            "what answered is not the Hub, but perhaps the login page of a network; log in there, or set HF_ENDPOINT to a mirror"
        )
    return _cause(error)


def endpoint() -> str:
    """The Hub's address, without a password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def token() -> str | None:
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
    """Seconds that the Hub asks to wait, by `RateLimit` (of an answer 429) or `Retry-After`, as its client reads them; 0: none."""
    headers = getattr(response, "headers", {})
    limit = upstream.rate_limit(headers) if getattr(response, "status_code", 0) == 429 else None
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    text = headers.get("Retry-After", "").strip()
    return float(text) if re.fullmatch(r"[0-9]+", text) else 0.0


def _response(error: BaseException) -> object:
    """The answer behind an exception, or None."""
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
