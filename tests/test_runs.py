"""The directory of a run."""

import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from configs import configs
from hypothesis import given, settings

from zoo import content, runs
from zoo.config import Resolved, options, resolve
from zoo.errors import CheckpointError, ConfigError, OutputError
from zoo.runs import Run


def resolved(**flags):
    return resolve([("recipe x", {"lr": 0.5}), ("flag", {"backbone": "timm/test_vit.r160_in1k", "strategy": "lora:8", **flags})])


FILES = {"splits.json": "{}"}


def test_names_are_readable_and_never_reused(tmp_path):
    first, _ = runs.create(resolved(data="photos/My Pets/"), FILES, tmp_path)
    second, _ = runs.create(resolved(data="photos/My Pets/"), FILES, tmp_path)
    assert first.path.name == "timm-test-vit.r160-in1k-lora-8-my-pets-1"
    assert second.path.name.endswith("-2")


def test_options_and_origins_come_back(tmp_path):
    run, settled = runs.create(resolved(), FILES, tmp_path)
    assert run.resolved() == settled
    assert settled.origins["lr"] == "recipe x"
    assert "lr: 0.5  # recipe x" in (run.path / "config.yaml").read_text()


@settings(max_examples=60, deadline=None)
@given(config=configs())
def test_a_config_without_its_comments_is_the_same_to_the_byte(config):
    """Comments mean nothing, and nothing is left out that a default could fill in."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        runs.write_config(run, Resolved(config, dict.fromkeys(options(), "recipe x")))
        assert run.resolved().config == config
        bare = content.dump_yaml(config.flat())
        (run.path / "config.yaml").write_text(bare, encoding="utf-8")
        assert run.resolved().config == config
        assert content.dump_yaml(run.resolved().config.flat()) == bare


def test_a_config_that_was_cut_at_a_line_s_end_is_refused(tmp_path):
    run, _ = runs.create(resolved(), FILES, tmp_path)
    lines = (run.path / "config.yaml").read_text().splitlines(keepends=True)
    assert len(lines) == len(options())
    for count in range(1, len(lines)):
        (run.path / "config.yaml").write_text("".join(lines[:count]))
        first = lines[count].partition(":")[0]
        with pytest.raises(ConfigError, match=f"{len(lines) - count} of {len(lines)} options are missing, the first is {first}"):
            run.resolved()


def test_what_another_version_of_zoo_wrote_is_said_with_what_to_do(tmp_path):
    run, _ = runs.create(resolved(), FILES, tmp_path)
    file = run.path / "config.yaml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("momentum:")))
    with pytest.raises(ConfigError) as caught:
        run.resolved()
    assert str(caught.value) == (
        f"{file}: 1 of {len(lines)} options are missing, the first is momentum; if the file was cut short, use another copy; if another "
        "version of zoo wrote it, go on with that one, or write out the missing ones (`momentum: 0.9`); a file of some options is "
        "for --recipe"
    )
    file.write_text("".join(lines).replace("momentum:", "impetus:"))
    with pytest.raises(ConfigError, match="the first is momentum, and no option is called 'impetus'; if the file"):
        run.resolved()
    file.write_text("".join(lines) + "impetus: 1\n")
    with pytest.raises(ConfigError, match="no option 'impetus'"):
        run.resolved()


def test_an_existing_folder_is_never_used(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="exists; choose another --out$"):
        runs.create(resolved(out=str(tmp_path / "mine")), FILES)
    assert list((tmp_path / "mine").iterdir()) == []
    for place in (".", "/"):
        with pytest.raises(OutputError, match=r"^[./] exists; choose another --out$"):
            runs.create(resolved(out=place), FILES)
    runs.create(resolved(out=str(tmp_path / "run")), FILES)
    with pytest.raises(OutputError, match="zoo resume"):
        runs.create(resolved(out=str(tmp_path / "run")), FILES)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        runs.create(resolved(out=str(tmp_path / "file" / "x")), FILES)


def test_status_and_results(tmp_path):
    run, _ = runs.create(resolved(), FILES, tmp_path)
    assert (run.status, run.value, run.metric) == ("empty", None, None)
    (run.checkpoints / "step-00000003").mkdir(parents=True)
    assert run.status == "resumable"
    (run.path / "result.json").write_text(json.dumps({"metric": "accuracy", "value": 0.5}))
    assert (run.status, run.value, run.metric) == ("finished", 0.5, "accuracy")
    assert run.summary()["best"] == str(run.path / "best")


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert run.metrics() == [{"step": 1}, {"step": 2}]


def test_what_is_not_a_run_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="not a run"):
        runs.open_run(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        runs.list_runs(tmp_path / "none")
    (tmp_path / "config.yaml").write_text("lrr: 1\n")
    with pytest.raises(ConfigError, match=r"config.yaml"):
        runs.open_run(tmp_path).resolved()


def test_runs_are_listed_oldest_first(tmp_path):
    made = [runs.create(resolved(), FILES, tmp_path)[0] for _ in range(2)]
    assert [run.path for run in runs.list_runs(tmp_path)] == [run.path for run in made]


def test_runs_made_at_once_have_folders_of_their_own(tmp_path):
    """More threads than numbers are free at first: whoever comes second takes the next, and nobody's files are mixed."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: runs.create(resolved(), {"splits.json": str(number)}, tmp_path)[0], range(24)))
    assert len({run.path for run in made}) == 24
    assert [(run.path / "splits.json").read_text() for run in made] == [str(number) for number in range(24)]
    assert all(run.resolved().config.output.out == str(run.path) for run in made)
    assert {path.name for path in tmp_path.iterdir()} == {"work", *(run.path.name for run in made)}


def test_a_folder_that_is_being_made_is_not_listed(tmp_path):
    run, _ = runs.create(resolved(), FILES, tmp_path)
    shutil.copytree(run.path, tmp_path / f".aside-{run.path.name}-00000000-1-0")
    assert [one.path for one in runs.list_runs(tmp_path)] == [run.path]


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"metric": "acc', "", "[" * 100_000])
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"result\.json: damaged.*zoo resume") as error:
        _ = Run(tmp_path).value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "a\nb", "\ufeff", "\x1b"])
def test_characters_that_break_lines_come_back_whatever_stands_before_them(odd: str) -> None:
    values = {"first": "plain", "second": odd, "third": "plain", "fourth": 1}
    text = content.dump_yaml(values, {"second": "flag"})
    assert len(text.splitlines()) == 4
    assert content.parse_yaml(text, "x") == values
