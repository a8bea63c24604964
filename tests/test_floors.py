"""A module imports only from floors below its own; siblings do not import each other; there is no cycle at any depth; names are of one.

Every import statement counts, those inside functions and under TYPE_CHECKING too.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

import zoo

PACKAGE = Path(zoo.__file__).parent
FLOORS = [
    {"errors", "memory", "interrupts", "keywords", "imports"},
    {"types", "content", "scale", "strategy", "folders", "locks", "streams", "plugins", "runtimes", "upstream"},
    {"cache", "options"},
    {"strategies"},
    {"config"},
    {"registry", "decisions"},
    {"backbones", "engines", "recipes"},
    {"adaptation", "data", "evaluation", "runs"},
    {"configure"},
    {"training", "inference"},
    {"publishing", "inspection"},
    {"jobs"},
    {"api"},
    {"zoo"},
    {"cli"},
    {"__main__"},
]
FLOOR = {unit: height for height, units in enumerate(FLOORS) for unit in units}


def module_name(path: Path) -> str:
    return ".".join(("zoo", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


SOURCES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def imports(module: str) -> set[str]:
    """The modules of ours that a module names in import statements."""
    found: set[str] = set()
    for node in ast.walk(SOURCES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in SOURCES}
        elif isinstance(node, ast.ImportFrom) and node.module in SOURCES:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else node.module for name in names}
    return found


def unit(module: str) -> str:
    """What stands on a floor: the part under `zoo`, or `zoo` itself; of strategies, their forms, which need no torch."""
    if module.startswith("zoo.adaptation.strategies") and not module.endswith(".applying"):
        return "strategies"
    return [*module.split("."), module][1]


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module):
    upward = {
        other: unit(other)
        for other in imports(module)
        if unit(other) != unit(module) and FLOOR[unit(other)] >= FLOOR[unit(module)]
    }
    assert not upward, f"{module} is on floor {FLOOR[unit(module)]} and imports {sorted(upward)}"


def test_no_cycle():
    try:
        TopologicalSorter({module: imports(module) for module in SOURCES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def is_named_by_what_it_is_of(module: str) -> bool:
    """Verbs have the names of what they call, and the two modules of a strategy those of all strategies."""
    return module.startswith(("zoo.cli.verbs.", "zoo.adaptation.strategies.")) or module.endswith(".__main__")


def test_no_two_modules_share_a_name_and_none_has_that_of_a_library():
    names = Counter(module.rpartition(".")[2] for module in SOURCES if not is_named_by_what_it_is_of(module))
    assert [name for name, count in names.items() if count > 1] == []
    declared = (re.match(r"[\w-]+", line) for line in metadata.requires("zoo-finetune"))
    libraries = {found[0].replace("-", "_").lower() for found in declared} - {"zoo_finetune"}
    called = (
        "zoo.cli.verbs.evaluate",
        "zoo.jobs.evaluate",
        "zoo.training.trackers.tensorboard",
    )  # a verb, and what `--track` calls it
    assert libraries & {module.rpartition(".")[2] for module in SOURCES if module not in called} == set()


def test_no_two_classes_share_a_name():
    classes = Counter(
        node.name for tree in SOURCES.values() for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"
    )
    assert [name for name, count in classes.items() if count > 1] == []


def test_imports_without_torch():
    light = [
        module
        for module in SOURCES
        if FLOOR[unit(module)] < FLOOR["backbones"] or unit(module) in ("runs", "configure", "recipes")
    ]
    light += [module for module in SOURCES if FLOOR[unit(module)] >= FLOOR["api"] and unit(module) != "__main__"]
    lines = ["import sys", *(f"import {module}" for module in sorted(light)), "print('torch' in sys.modules)"]
    answer = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


@pytest.mark.parametrize(
    "call", ["load('nowhere')", "evaluate('nowhere')", "predict('nowhere', 'x')", "predict_to('a.csv', 'nowhere', ['x'])"]
)
def test_a_folder_that_is_not_there_is_found_out_without_torch(call):
    lines = ["import sys, zoo", "try:", f"    zoo.{call}", "except zoo.errors.CheckpointError as error:", "    print(error)"]
    lines.append("print('torch' in sys.modules)")
    answer = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert answer.stdout == "nowhere: not a model that zoo saved: no such folder\nFalse\n"


def test_public_names():
    assert set(zoo.__all__) <= set(dir(zoo))
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'finetun'"):
        _ = zoo.finetun
