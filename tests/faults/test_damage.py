"""Every file of a run, damaged in every way: each verb does without it, mends it, or ends in one line; none gives another answer."""

import itertools
import json
import random
import shutil
from pathlib import Path

import pytest
from faults.running import OPTIONS, bytes_of, photos

from zoo import api, folders
from zoo.adaptation import saved
from zoo.cli import main
from zoo.runs import Run

SEED = 12


def flipped(content: bytes) -> bytes:
    place = random.Random(SEED).randrange(len(content))
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


DAMAGES = {
    "a flipped bit": flipped,
    "cut": lambda content: content[: len(content) * 2 // 3],
    "cut at a line": lambda content: b"".join(content.splitlines(keepends=True)[:-3]),
    "emptied": lambda content: b"",
    "null": lambda content: b"null",
    "a list": lambda content: b"[]",
    "an object": lambda content: b"{}",
    "not UTF-8": lambda content: b"\xff\xfe\n" + content,
    "removed": None,
}
FILES = (
    "config.yaml",
    "splits.json",
    "metrics.jsonl",
    "training.json",
    "report.json",
    "result.json",
    "best/config.json",
    "best/manifest.json",
    "best/model.safetensors",
    "best/README.md",
    "best/figures/calibration.png",
    "checkpoints/step-00000003/manifest.json",
    "checkpoints/step-00000003/model.safetensors",
    "checkpoints/step-00000006/manifest.json",
    "checkpoints/step-00000006/model.safetensors",
    "checkpoints/step-00000006/optimizer.safetensors",
    "checkpoints/step-00000006/state.json",
)
STATES = ("finished", "stopped")
VERBS = ("resume", "evaluate", "predict", "publish", "runs")
ALL = list(itertools.product(FILES, DAMAGES, STATES, VERBS))
SAMPLE = {
    *random.Random(SEED).sample(ALL, 30),
    *(("best/model.safetensors", "a flipped bit", state, verb) for state in STATES for verb in VERBS),
    *(("result.json", damage, "finished", "resume") for damage in ("null", "a list", "cut")),
    ("best/manifest.json", "an object", "finished", "publish"),
    ("splits.json", "cut", "stopped", "resume"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("finished") / "run"
    api.finetune(**OPTIONS, data=data, out=str(out), tensorboard=False)
    return out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, finished):
    """The same as if it had been killed after its fourth step: `best/` is that of the third."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("step-00000006", "result.json", "report.json", "training.json"))
    with folders.whole(out / "best", replace=True) as best:
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(finished / "best" / name, best / name)
    return out


def call(verb, run, data, capsys):
    """Exit status, what is on stdout as JSON, and stderr."""
    words = {
        "resume": [run],
        "evaluate": [run / "best"],
        "predict": [run / "best", f"{data}/val"],
        "publish": [run / "best", "--to", "./published"],
        "runs": [run.parent],
    }
    status = main([verb, *map(str, words[verb]), "--json"])
    said = capsys.readouterr()
    return status, json.loads(said.out.splitlines()[-1]) if status == 0 else None, said.err


@pytest.fixture(scope="module")
def answers(finished):
    """What each verb says of an undamaged run."""
    return {}


@pytest.mark.parametrize(
    ("file", "damage", "state", "verb"),
    [one if one in SAMPLE else pytest.param(*one, marks=pytest.mark.slow) for one in ALL],
)
def test_a_damaged_file(tmp_path, capsys, request, finished, data, answers, file, damage, state, verb):
    original = request.getfixturevalue(state)
    run = tmp_path / "runs" / "run"
    shutil.copytree(original, run)
    if (verb, state) not in answers:
        answers[verb, state] = call(verb, run, data, capsys)[1] if verb in ("evaluate", "predict") else None
    if not (run / file).exists():
        pytest.skip("a run in this state has no such file")
    spoil = DAMAGES[damage]
    if spoil is None:
        (run / file).unlink()
    else:
        (run / file).write_bytes(spoil((run / file).read_bytes()))
    status, answer, said = call(verb, run, data, capsys)
    assert "Traceback" not in said
    assert "unexpected " not in said
    if status:
        assert status in (1, 2)
        assert len([line for line in said.splitlines() if line.startswith("zoo: ")]) == 1, said
    elif verb == "resume":
        for name in ("model.safetensors", "config.json"):
            assert (run / "best" / name).read_bytes() == (finished / "best" / name).read_bytes()
        assert Run(run).value == Run(finished).value
        assert set(saved.verify(run / "best")) == set(folders.verify(finished / "best"))
    elif verb == "publish":
        assert (Path("published") / "model.safetensors").read_bytes() == (finished / "best" / "model.safetensors").read_bytes()
        assert folders.verify(Path("published")) == folders.verify(finished / "best")
    elif verb != "runs":
        assert answer == answers[verb, state]


@pytest.mark.parametrize("state", STATES)
def test_a_best_that_is_gone_is_made_again_before_anything_else(tmp_path, request, finished, caplog, state):
    run = tmp_path / "run"
    shutil.copytree(request.getfixturevalue(state), run)
    shutil.rmtree(run / "best")
    with caplog.at_level("INFO", "zoo"):
        assert api.resume(run).status == "finished"
    assert bytes_of(run) == bytes_of(finished)
    assert "from the checkpoint of step 3" in caplog.text


@pytest.mark.parametrize("state", STATES)
def test_a_run_without_checkpoints_says_that_it_trains_anew(tmp_path, request, finished, caplog, state):
    run = tmp_path / "run"
    shutil.copytree(request.getfixturevalue(state), run, ignore=shutil.ignore_patterns("checkpoints"))
    (run / "best" / "model.safetensors").unlink()
    with caplog.at_level("INFO", "zoo"):
        api.resume(run)
    assert bytes_of(run) == bytes_of(finished)
    assert f"{run}: there is no checkpoint, so the run trains anew from the start" in caplog.text


def test_a_best_that_cannot_be_made_again_stops_the_run_first(tmp_path, stopped, capsys):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    shutil.rmtree(run / "checkpoints" / "step-00000003")
    (run / "best" / "model.safetensors").unlink()
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert main(["resume", str(run)]) == 2
    assert "cannot be made again" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before


def test_an_edited_card_is_nobody_s_damage(tmp_path, finished, caplog):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "best" / "README.md").write_text("mine")
    api.resume(run)
    assert (run / "best" / "README.md").read_text() == "mine"
