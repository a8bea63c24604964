"""Publishing on a Hub that fails: what passes is waited for, nothing is made twice, and what stays is one line."""

import logging
import time

import pytest
from hub_server import Fault, Hub
from huggingface_hub import constants
from written import publishable

import zoo
from zoo.errors import ConfigError, OutputError

CREATE, LOOK, COMMIT = "POST /api/repos/create", "GET /api/models/", "POST .*/commit/"


pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own, of its uploads


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    return publishable(tmp_path_factory.mktemp("model"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in that this process takes for the Hub, and somebody who is logged in there."""
    stand_in = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", stand_in.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", stand_in.address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("ZOO_HUB_SECONDS", "8")
    yield stand_in
    stand_in.shutdown()
    stand_in.server_close()


def published_whole(hub, best):
    names = {path.relative_to(best).as_posix() for path in best.rglob("*") if path.is_file()}
    return hub.repositories["me/pets"] == {name: (best / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        *((COMMIT, what) for what in (429, 500, 502, 503, "reset")),
        *((other, what) for other in (CREATE, LOOK, "(HEAD|GET) .*/resolve/", "preupload", "PUT ") for what in (503, "reset")),
    ],
)
def test_what_passes_is_waited_for(hub, best, request_, what, caplog):
    hub.faults = [Fault(request_, what)]
    with caplog.at_level(logging.INFO, "zoo"):
        assert zoo.publish(best, "me/pets") == f"{hub.address}/me/pets"
    assert hub.faults[0].times == 0
    assert hub.commits == {"me/pets": 1}
    assert hub.private == {"me/pets"}
    assert published_whole(hub, best)
    assert "hf_secret" not in caplog.text


def test_twice_is_waited_for_too_and_said(hub, best, caplog):
    hub.faults = [Fault(COMMIT, 503, times=2)]
    with caplog.at_level(logging.INFO, "zoo"):
        zoo.publish(best, "me/pets")
    assert [line for line in caplog.messages if "trying again in" in line] != []
    assert hub.commits == {"me/pets": 1}


def test_as_long_as_the_hub_asks_to_wait(hub, best):
    hub.faults = [Fault(COMMIT, 429, headers={"Retry_After": "2"})]
    began = time.monotonic()
    zoo.publish(best, "me/pets")
    assert time.monotonic() - began > 1.9


def test_longer_than_patience_is_not_waited(hub, best):
    hub.faults = [Fault(COMMIT, 429, headers={"Retry_After": "3600"})]
    with pytest.raises(OutputError, match="too many requests"):
        zoo.publish(best, "me/pets")


LONG = [{"Retry_After": "7200"}, {"RateLimit": '"api";r=0;t=7200'}, {"Retry_After": "9" * 400}]


@pytest.mark.parametrize("headers", LONG, ids=["Retry-After", "RateLimit", "absurd"])
@pytest.mark.parametrize("request_", ["preupload", "/objects/batch", "PUT ", "GET .*/resolve/"])
def test_nor_where_the_hub_s_client_tries_again_by_itself(hub, best, request_, headers):
    """Which would sleep for two hours."""
    if "resolve" in request_:
        hub.repositories["me/pets"], hub.commits["me/pets"] = {"README.md": b"another"}, 1
    hub.faults = [Fault(request_, 429, times=100, headers=headers)]
    began = time.monotonic()
    with pytest.raises(OutputError, match=r"too many requests, and waiting did not help.* \(status 429\)"):
        zoo.publish(best, "me/pets", force=True)
    assert time.monotonic() - began < 30
    assert hub.commits.get("me/pets", 0) == (1 if "resolve" in request_ else 0)


def test_the_client_waits_as_long_as_there_is_patience(hub, best):
    hub.faults = [Fault("preupload", 429, headers={"Retry_After": "1"})]
    zoo.publish(best, "me/pets")
    assert hub.commits == {"me/pets": 1}


@pytest.mark.parametrize("request_", [CREATE, COMMIT])
def test_what_was_done_and_whose_answer_was_lost_is_not_done_twice(hub, best, request_):
    hub.faults = [Fault(request_, "lost")]
    zoo.publish(best, "me/pets")
    assert hub.commits == {"me/pets": 1}
    assert published_whole(hub, best)
    zoo.publish(best, "me/pets")
    assert hub.commits == {"me/pets": 1}


def test_the_next_call_finds_a_commit_whose_answer_was_lost(hub, best, monkeypatch):
    monkeypatch.setenv("ZOO_HUB_SECONDS", "1")
    hub.faults = [Fault(COMMIT, "lost"), Fault(LOOK, 500, times=0)]
    original = hub.finish_request

    def count(*arguments):
        if hub.commits.get("me/pets"):
            hub.faults[1].times = 100  # from now on, nobody can look
        original(*arguments)

    hub.finish_request = count
    with pytest.raises(OutputError, match="status 500"):
        zoo.publish(best, "me/pets")
    hub.faults, hub.finish_request = [], original
    zoo.publish(best, "me/pets")
    assert hub.commits == {"me/pets": 1}


@pytest.mark.parametrize(
    ("request_", "what", "words"),
    [
        (CREATE, 401, "hf auth login"),
        (CREATE, 403, "another OWNER"),
        (LOOK, 404, "check the name"),
        (COMMIT, 409, "somebody else is changing it"),
        (COMMIT, 412, "changed by somebody else meanwhile"),
        (COMMIT, 400, r"a fault.*\(status 400\)"),
        (CREATE, "portal", "what responded is not the Hub"),
        (LOOK, "portal", "what responded is not the Hub"),
        (COMMIT, "portal", "what responded is not the Hub"),
        (COMMIT, 503, "fails, also when asked again"),
        (COMMIT, "reset", "ReadError"),
    ],
)
def test_what_stays_is_one_line(hub, best, request_, what, words, monkeypatch):
    monkeypatch.setenv("ZOO_HUB_SECONDS", "2")
    hub.faults = [Fault(request_, what, times=100)]
    began = time.monotonic()
    with pytest.raises(OutputError, match=words) as caught:
        zoo.publish(best, "me/pets")
    assert time.monotonic() - began < 20
    said = str(caught.value)
    assert "\n" not in said
    assert "Expecting value" not in said
    assert "hf_secret" not in said
    assert said.startswith(f"me/pets cannot be published at {hub.address}: ")
    assert hub.commits.get("me/pets", 0) == 0


def test_a_silent_hub_is_given_up(hub, best, monkeypatch):
    monkeypatch.setenv("ZOO_HUB_SECONDS", "1")
    hub.faults = [Fault(CREATE, "silent")]
    with pytest.raises(OutputError, match="ReadTimeout"):
        zoo.publish(best, "me/pets")


def test_a_repository_is_private_unless_said_otherwise(hub, best):
    zoo.publish(best, "me/pets")
    zoo.publish(best, "me/open", private=False)
    assert set(hub.repositories) == {"me/pets", "me/open"}
    assert hub.private == {"me/pets"}


def test_a_token_that_cannot_be_sent_is_not_shown(hub, best, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sec\x01ret")
    with pytest.raises(ConfigError, match="hf auth login") as caught:
        zoo.publish(best, "me/pets")
    assert "sec" not in str(caught.value)
    assert hub.asked == []


def test_a_password_in_the_address_is_not_shown(hub, best, monkeypatch):
    address = hub.address.replace("//", "//somebody:hunter2@")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    hub.faults = [Fault(CREATE, 401, times=9)]
    with pytest.raises(OutputError, match="hf auth login") as caught:
        zoo.publish(best, "me/pets")
    assert "hunter2" not in str(caught.value)


def test_patience_is_a_number(hub, best, monkeypatch):
    monkeypatch.setenv("ZOO_HUB_SECONDS", "long")
    with pytest.raises(ConfigError, match="ZOO_HUB_SECONDS is 'long'"):
        zoo.publish(best, "me/pets")
