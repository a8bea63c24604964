"""The Hub's client against a stand-in on this machine: what answers, what does not, and how long that may take."""

import hashlib
import http.server
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CONTENT = bytes(range(256)) * 16
WHOLE = f"model.safetensors {hashlib.sha256(CONTENT).hexdigest()} True"
FETCH = """
import sys
from pathlib import Path
from zoo.backbones import hub, weights
from zoo.errors import WeightsError
from zoo.registry import BackboneSpec
spec = BackboneSpec("mine", "resnet18.a1_in1k", None)
try:
    path = {how}("timm/resnet18.a1_in1k", weights.FILE_NAMES)
    found = weights._verified(path, "timm/resnet18.a1_in1k", "Hub", spec)
    print(path.name, found.sha256, hub.cached("timm/resnet18.a1_in1k", weights.FILE_NAMES) == path)
except (hub.Unavailable, WeightsError) as error:
    print(type(error).__name__, error)
"""


class StandIn(http.server.BaseHTTPRequestHandler):
    """Serves one file as the Hub does: the digest of the whole in the headers, then its bytes."""

    name = "model.safetensors"
    content = CONTENT
    status = 200
    asked: list[str]
    tokens: list[str | None]
    first: list[str | int]
    """What goes wrong with the first requests: a status, `reset`, `cut` (a body that breaks off), `flipped` (another byte), `portal`
    (a web page); `""` for nothing."""

    def do_HEAD(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.tokens.append(self.headers.get("Authorization"))
        fault = self.first.pop(0) if self.first and "/resolve/" in self.path else ""
        if fault == "portal":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Log in</html>")
            self.close_connection = True
            return
        if fault == "reset":
            self.reset()
            return
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.status != 200 or not self.path.endswith(self.name):
            self.send_response(self.status if self.status != 200 else 404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(CONTENT).hexdigest()}"')
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.command == "GET" and fault == "cut":
            self.wfile.write(self.content[:1000])
            self.reset()
        elif self.command == "GET":
            self.wfile.write(b"\xff" + CONTENT[1:] if fault == "flipped" else self.content)

    def reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    do_GET = do_HEAD

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def serve() -> Iterator[Callable[..., type[StandIn]]]:
    """Start a stand-in with these attributes; its address is `.address`."""
    servers = []

    def start(**attributes: object) -> type[StandIn]:
        handler = type("Handler", (StandIn,), {"first": [], **attributes, "asked": [], "tokens": []})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        handler.address = f"http://127.0.0.1:{server.server_port}"
        return handler

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(address: str, tmp_path: Path, how: str = "hub.download", **environment: str) -> tuple[str, float]:
    """What a fresh process prints, and how long it takes in seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", FETCH.replace("{how}", how)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), **environment},
    )
    return done.stdout.strip(), time.monotonic() - began


def test_a_file_is_fetched_into_the_cache_from_the_mirror(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    answer, _ = fetch(serve().address, tmp_path)
    assert answer == WHOLE


def test_the_older_format_is_taken_where_there_is_no_other(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    answer, _ = fetch(serve(name="pytorch_model.bin").address, tmp_path)
    assert answer.startswith("pytorch_model.bin ")


def test_a_byte_that_flipped_on_the_way_is_noticed(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    answer, _ = fetch(serve(content=b"\xff" + CONTENT[1:]).address, tmp_path)
    assert answer.startswith("WeightsError ")
    assert "damaged (sha256 " in answer
    assert "and so it came again from timm/resnet18.a1_in1k" in answer


def test_what_arrived_damaged_is_fetched_again_once(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    answer, _ = fetch(serve(first=["", "", "flipped"]).address, tmp_path)
    assert answer == WHOLE


def test_what_is_damaged_in_the_cache_is_fetched_again_where_there_is_a_hub(
    serve: Callable[..., type[StandIn]], tmp_path: Path
) -> None:
    handler = serve()
    fetch(handler.address, tmp_path)
    blob = next(path for path in (tmp_path / "hf").rglob(hashlib.sha256(CONTENT).hexdigest()))
    blob.write_bytes(CONTENT[:-100])
    handler.asked.clear()
    offline, _ = fetch(handler.address, tmp_path, "hub.cached", HF_HUB_OFFLINE="1")
    assert "damaged (sha256 " in offline
    assert "HF_HUB_OFFLINE forbids" in offline
    assert handler.asked == []
    assert blob.is_file()
    assert fetch(handler.address, tmp_path, "hub.cached")[0] == WHOLE
    handler.asked.clear()
    assert fetch(handler.address, tmp_path, "hub.cached", HF_HUB_OFFLINE="1")[0] == WHOLE


@pytest.mark.parametrize(
    "first",
    [[429], [500], [503, 502], ["reset"], ["", 503], ["", "reset"], ["", "", "cut"], ["", "", "reset"], ["", "", 503]],
    ids=str,
)
def test_what_passes_is_waited_for(serve: Callable[..., type[StandIn]], tmp_path: Path, first: list[str | int]) -> None:
    assert fetch(serve(first=first).address, tmp_path)[0] == WHOLE


def test_a_hub_that_keeps_failing_is_given_up(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    handler = serve(status=503)
    answer, _ = fetch(handler.address, tmp_path, ZOO_HUB_SECONDS="2")
    expected = "it fails, also when asked again; give the same command later (status 503)"
    assert answer == f"Unavailable {handler.address}: {expected}"
    assert len(handler.asked) == 3


def test_the_page_of_a_network_that_wants_a_login_is_told(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    answer, _ = fetch(serve(first=["portal"] * 20).address, tmp_path)
    assert answer.startswith("Unavailable ")
    assert "what responded is not the Hub, but perhaps the login page of a network" in answer


def test_what_only_some_may_see_is_asked_for_with_the_token(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    handler = serve()
    fetch(handler.address, tmp_path, HF_TOKEN="hf_secret")
    assert (handler.asked[0].partition(" ")[0], handler.tokens[0]) == ("HEAD", "Bearer hf_secret")


def test_a_refusal_is_told(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    answer, _ = fetch(serve(status=401).address, tmp_path)
    assert answer.startswith("Unavailable ")
    assert "refuses timm/resnet18.a1_in1k (status 401" in answer


def test_a_repository_without_weights_is_told(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    answer, seconds = fetch(serve(status=404).address, tmp_path)
    assert answer.startswith("Unavailable fetching pytorch_model.bin of timm/resnet18.a1_in1k failed")
    assert seconds < 5


def test_offline_asks_nothing(serve: Callable[..., type[StandIn]], tmp_path: Path) -> None:
    handler = serve()
    answer, seconds = fetch(handler.address, tmp_path, HF_HUB_OFFLINE="1")
    assert answer == "Unavailable HF_HUB_OFFLINE forbids to ask the Hub"
    assert handler.asked == []
    assert seconds < 5


def test_a_host_that_refuses_is_given_up_at_once(tmp_path: Path) -> None:
    answer, seconds = fetch("http://127.0.0.1:9", tmp_path)
    assert answer == "Unavailable http://127.0.0.1:9 cannot be reached (ConnectError)"
    assert seconds < 5


def test_a_host_that_never_answers_is_given_up_in_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        answer, seconds = fetch(address, tmp_path)
    assert answer.startswith(f"Unavailable {address} cannot be reached (ReadTimeout)")
    assert seconds < 7
