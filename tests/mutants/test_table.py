"""The table of mutants keeps up with the code: what it would break is there, and so are the tests that would tell."""

import ast
import re

import pytest
from mutants.run import ROOT, read

MUTANTS = read()


@pytest.mark.parametrize("mutant", MUTANTS, ids=[re.sub(r"\W+", "-", one.rule)[:60] for one in MUTANTS])
def test_a_mutant_can_be_made_and_its_tests_exist(mutant):
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    ast.parse(text.replace(mutant.old, mutant.new))
    for test in mutant.tests:
        file, *names = re.sub(r"\[.*", "", test).split("::")
        scope = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        for name in names:
            (found,) = [node for node in scope if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name]
            scope = found.body
