"""What SECURITY.md promises of the code itself; the files that it names are there."""

import ast
import re
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parent.parent
SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in Path(zoo.__file__).parent.rglob("*.py")}
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
"""Modules that execute what they read."""


def calls() -> list[tuple[Path, ast.Call, str]]:
    found = ((path, node) for path, tree in SOURCES.items() for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [(path, node, ast.unparse(node.func)) for path, node in found]


def test_nothing_is_imported_that_executes_what_it_reads() -> None:
    names = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names.isdisjoint(RUNS_CODE)


@pytest.mark.parametrize(
    ("function", "keyword", "value"), [("torch.load", "weights_only", True), ("np.load", "allow_pickle", False)]
)
def test_files_are_read_without_what_could_run(function: str, keyword: str, value: bool) -> None:
    used = [node for _, node, name in calls() if name == function]
    assert used
    assert all(any(one.arg == keyword and ast.unparse(one.value) == str(value) for one in node.keywords) for node in used)


def test_nothing_from_elsewhere_is_evaluated() -> None:
    forbidden = {"eval", "exec", "compile", "yaml.unsafe_load", "yaml.full_load", "os.system", "torch.save"}
    assert [(path.name, name) for path, _, name in calls() if name in forbidden] == []
    assert not any("trust_remote_code" in path.read_text(encoding="utf-8") for path in SOURCES)
    kinds = {ast.unparse(one.value) for _, node, name in calls() if name == "YAML" for one in node.keywords if one.arg == "typ"}
    assert kinds == {"'safe'"}
    processes = [node for _, node, name in calls() if name.startswith("subprocess.")]
    assert not any(one.arg == "shell" for node in processes for one in node.keywords)


def test_the_tests_that_are_named_are_there() -> None:
    named = re.findall(r"`((?:tests|docs)/[\w./-]+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [
        name for name in named if not (ROOT / name).exists() and not list((ROOT / name).parent.glob(f"{Path(name).name}*"))
    ] == []
