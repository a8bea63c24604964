"""Every verb: its help, its answers, its mistakes."""

import logging
import os
import re
import subprocess
import sys

import pytest

from zoo.cli.app import VERBS
from zoo.errors import ConfigError, NonFinite, RunFailed

ZOO = [sys.executable, "-m", "zoo"]
SUBS = {"recipes": ("show", "copy"), "cache": ("info", "list", "verify", "clear"), "data": ("inspect",)}
"""Verbs that have verbs."""


def test_help_tells_what_each_verb_does(zoo_cli):
    for words in ([], ["--help"]):
        ran = zoo_cli(*words)
        assert ran.status == 0
        assert all(f"│ {verb} " in ran.out for verb in VERBS)
        rows = [line.split() for line in ran.out.splitlines() if line.startswith("│ ")]
        assert all(len(row) > 3 for row in rows if row[1] in VERBS), "each verb has its line"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_starts_with_examples_and_has_json(zoo_cli, verb):
    pages = [zoo_cli(verb, "--help")] if verb not in SUBS else [zoo_cli(verb, sub, "--help") for sub in SUBS[verb]]
    for page in pages:
        assert page.status == 0
        assert page.out.index(f"zoo {verb} ", 10) < page.out.index("╭")
        assert page.out.count("│ --json ") == 1
        examples = [line for line in page.out.splitlines() if line.startswith("    ")]
        assert all(line.startswith("    zoo ") for line in examples), "an example fits on one line of 80 columns"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("finetun", "no verb 'finetun'; did you mean 'finetune'? (verbs: finetune, evaluate,"),
        ("--jason", "no option '--jason' (verbs: finetune, evaluate,"),
        ("list foo", 'Invalid value "foo" for WHAT. Choose from: "backbones", "heads", "strategies", "recipes", "metrics"'),
        ("list heads backbones", "nothing takes 'backbones' here; `zoo list --help` shows what it takes"),
        ("evaluate", "BEST needs a value; `zoo evaluate --help` shows what it takes"),
        ("predict runs/x/best", "INPUTS needs a value; `zoo predict --help` shows what it takes"),
        ("predict runs/x/best a.jpg --csv --json", "--csv and --json exclude each other; give one of them"),
        ("predict runs/x/best a.jpg --top 0", "--top is 0; it is 1 or more"),
        ("predict runs/x/best a.jpg --top 2.5", "Invalid value for --top: '2.5' is not a whole number"),
        ("publish runs/x/best", "--to needs a value; `zoo publish --help` shows what it takes"),
        ("resume", "RUN needs a value; `zoo resume --help` shows what it takes"),
        ("runs no/such/folder", "no/such/folder: no such folder; runs are made by `zoo finetune`"),
        ("recipes shw", "no verb 'shw'; did you mean 'show'? (verbs: list, show, copy, validate)"),
        ("recipes show linear-prob", "no recipe 'linear-prob'; did you mean 'linear-probe'"),
        ("recipes copy lop", "no recipe 'lop'"),
        ("recipes validate no/such.yaml", "no/such.yaml: cannot be read"),
        ("completion tcsh", 'Invalid value "tcsh" for SHELL. Choose from: "bash", "zsh", "fish", "powershell"'),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(zoo_cli, words, said):
    assert said in zoo_cli(*words.split()).refused()


@pytest.mark.parametrize("kind", ["backbones", "heads", "strategies", "recipes", "metrics"])
def test_list(zoo_cli, kind):
    names = [row["name"] for row in zoo_cli("list", kind, "--json").json[kind]]
    assert len(names) == len(set(names)) > 4
    table = zoo_cli("list", kind)
    assert table.status == 0
    assert table.err == ""
    assert [line.split()[0] for line in table.out.splitlines()[2:]] == names


def test_list_filter(zoo_cli):
    assert zoo_cli("list", "heads", "--filter", "lin", "--json").json == {"heads": [{"name": "linear"}, {"name": "norm-linear"}]}
    assert zoo_cli("list", "heads", "--filter", "lin*", "--json").json == {"heads": [{"name": "linear"}]}
    assert zoo_cli("list", "heads", "--filter", "[x").out == "no heads match '[x'\n"
    assert zoo_cli("list", "strategies", "--filter", "lora", "--json").json["strategies"][0]["name"] == "lora:R"


def test_recipes_are_read_copied_and_checked(zoo_cli, tmp_path):
    recipe = zoo_cli("recipes", "show", "linear-probe").out
    assert recipe.startswith("# ")
    copy = tmp_path / "mine.yaml"
    assert zoo_cli("recipes", "copy", "linear-probe", str(copy), "--json").json == {"name": "linear-probe", "path": str(copy)}
    assert copy.read_text() == recipe
    assert zoo_cli("recipes", "validate", str(copy)).status == 0

    copy.write_text("lr: 1e-3\n")
    assert "exists; give another name, or --force" in zoo_cli("recipes", "copy", "linear-probe", str(copy)).refused()
    assert copy.read_text() == "lr: 1e-3\n"
    assert zoo_cli("recipes", "copy", "linear-probe", str(copy), "--force").status == 0
    assert copy.read_text() == recipe

    assert zoo_cli("recipes", "copy", "linear-probe", str(tmp_path)).status == 0
    assert (tmp_path / "linear-probe.yaml").read_text() == recipe
    assert "cannot be written" in zoo_cli("recipes", "copy", "linear-probe", str(tmp_path / "no" / "such" / "x.yaml")).refused()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lrr: 1e-3", "no option 'lrr'; did you mean 'lr'"),
        ("lr: fast", "lr is 'fast'; expected a number"),
        ("lr: 1e-3\nlr: 1e-4", "line 2"),
        ("lr: !!python/object/apply:os.system [ls]", "line 1"),
        ("[1, 2]", "expected `key: value` lines"),
        ("", "expected `key: value` lines"),
        ("lr: [", "line "),
        ("strategy: lorra:16", "no strategy 'lorra'; did you mean 'lora"),
        ("backbone: resnet5", "no backbone 'resnet5'; did you mean 'resnet50'"),
        ("head: liner", "no head 'liner'; did you mean 'linear'"),
        ("metric: acuracy", "did you mean 'accuracy'"),
        ("epochs: 0", "epochs is 0; it lies between"),
    ],
)
def test_a_bad_recipe_is_refused(zoo_cli, tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert said in zoo_cli("recipes", "validate", str(path)).refused()


def test_all_recipes_are_valid(zoo_cli):
    for row in zoo_cli("recipes", "list", "--json").json["recipes"]:
        assert row["name"] == "loop" or zoo_cli("recipes", "validate", row["name"]).status == 0, row


def test_completion_knows_verbs_and_flags(zoo_cli, tmp_path, monkeypatch):
    for shell in ("bash", "zsh", "fish", "powershell"):
        script = zoo_cli("completion", shell, "--json").json["script"]
        assert script.rstrip("\n") == zoo_cli("completion", shell).out.rstrip("\n")
        assert "finetune" in script
        assert "backbone-lr-scale" in script
    monkeypatch.setenv("HOME", str(tmp_path))
    path = zoo_cli("completion", "bash", "--install", "--json").json["path"]
    assert path.startswith(str(tmp_path))


def test_a_shell_is_offered_names(zoo_cli):
    recipes = zoo_cli("__complete", "finetune", "--recipe", "").out.split()
    assert "lora-small-data" in recipes
    assert "loop" not in recipes
    assert "loop" in zoo_cli("__complete", "recipes", "copy", "").out.split()
    assert "lora" in zoo_cli("__complete", "finetune", "--freeze", "").out.split()
    assert "cosine" in zoo_cli("__complete", "finetune", "--head", "").out.split()


def test_an_unexpected_error_is_one_line_and_exit_1(zoo_cli, monkeypatch):
    def broken(pattern: str) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("zoo.api.list_heads", broken)
    ran = zoo_cli("list", "heads")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "zoo: unexpected RuntimeError: two lines; run again with --debug for the traceback\n"
    ran = zoo_cli("list", "heads", "--debug")
    assert ran.status == 1
    assert 'raise RuntimeError("two\\nlines")' in ran.err
    assert ran.err.endswith("zoo: unexpected RuntimeError: two lines\n")


@pytest.mark.parametrize(
    ("raised", "status", "kind"),
    [
        (ConfigError("bad\nvalue"), 2, "ConfigError"),
        (RunFailed("the run broke"), 1, "RunFailed"),
        (NonFinite("the loss is NaN"), 1, "NonFinite"),
        (ValueError("a fault of ours"), 1, "ValueError"),
        (KeyboardInterrupt(), 130, "KeyboardInterrupt"),
    ],
)
def test_an_error_has_its_exit_status_and_is_an_object_too(zoo_cli, monkeypatch, raised, status, kind):
    def broken(pattern: str) -> None:
        print("half a table")
        raise raised

    monkeypatch.setattr("zoo.api.list_heads", broken)
    ran = zoo_cli("list", "heads")
    assert ran.status == status
    assert ran.err.count("\n") == 1
    said = ran.err.removeprefix("zoo: ").rstrip("\n")
    ran = zoo_cli("list", "heads", "--json")
    assert ran.status == status
    assert ran.json == {"error": said, "kind": kind, "exit_status": status}


def test_a_mistake_in_the_line_is_an_object_too(zoo_cli):
    assert zoo_cli("finetun", "--json").json["exit_status"] == 2
    assert zoo_cli("list", "heads", "--no-such", "--json").json["kind"] == "UsageError"


def test_what_is_said_obeys_no_control_character(zoo_cli, monkeypatch):
    def talkative(pattern: str) -> list[dict]:
        logging.getLogger("zoo").info("first\nsecond \x1b[2J.jpg")
        return []

    monkeypatch.setattr("zoo.api.list_heads", talkative)
    assert zoo_cli("list", "heads").err == "first\nsecond \\x1b[2J.jpg\n"


def test_ctrl_c_is_one_line_and_exit_130(zoo_cli, monkeypatch):
    def stopped(pattern: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.api.list_heads", stopped)
    ran = zoo_cli("list", "heads")
    assert (ran.status, ran.out, ran.err) == (130, "", "zoo: stopped\n")


def test_what_a_library_prints_does_not_reach_the_json(zoo_cli, monkeypatch):
    def chatty(pattern: str) -> list[dict]:
        print("loading ...")
        return []

    monkeypatch.setattr("zoo.api.list_heads", chatty)
    ran = zoo_cli("list", "heads", "--json")
    assert ran.out == '{"heads": []}\n'
    assert "loading ..." in ran.err


def test_what_the_library_says_goes_to_stderr(zoo_cli, monkeypatch):
    log = logging.getLogger("zoo")

    def talkative(pattern: str) -> list[dict]:
        log.info("trains 2 tensors")
        return []

    monkeypatch.setattr("zoo.api.list_heads", talkative)
    for words in ([], ["--json"]):
        assert zoo_cli("list", "heads", *words).err.startswith("trains 2 tensors\n")
    assert log.handlers == []


def test_one_of_many_processes_answers(zoo_cli, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert zoo_cli("list", "heads", "--json").out == ""
    monkeypatch.setenv("RANK", "0")
    assert zoo_cli("list", "heads", "--json").json["heads"]


def test_a_reader_that_goes_away_is_no_error():
    with subprocess.Popen([*ZOO, "list", "heads"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_terminal_without_unicode_is_no_error():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ran = subprocess.run([*ZOO, "list", "heads"], capture_output=True, env=environment, check=True)
    assert b"linear" in ran.stdout


@pytest.mark.parametrize(
    "words",
    ["--help", "finetune --help", "list backbones", "recipes list", "finetune --freeze lorra:16", "recipes validate full-conv"],
)
def test_no_torch(words):
    """Nothing that answers from names alone waits for torch."""
    code = f"import sys, zoo.cli; status = zoo.cli.main({words.split()!r}); sys.exit(10 * ('torch' in sys.modules) + status)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == (2 if "lorra" in words else 0), ran.stderr


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")])
def test_memory_that_ran_out_is_not_unexpected(zoo_cli, monkeypatch, error):
    def broken(*_):
        raise error

    monkeypatch.setattr("zoo.api.list_heads", broken)
    ran = zoo_cli("list", "heads")
    assert ran.status == 1
    assert re.fullmatch(r"zoo: memory ran out \(.+\); use a smaller --batch-size, .*\n", ran.err)
