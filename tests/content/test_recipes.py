"""Every recipe is valid, is found where a family names it, and states its sources."""

import re

import pytest

from zoo import api, registry
from zoo.strategy import FORMS, parse


@pytest.mark.parametrize("name", registry.recipes())
def test_a_recipe_is_valid_and_says_where_its_rate_is_from(name):
    values = api.validate_recipe(name)
    assert {"strategy", "lr", "epochs", "batch_size"} <= set(values)
    header = registry.recipe(name).path.read_text(encoding="utf-8").partition("strategy:")[0]
    assert all(line.startswith("#") or not line for line in header.splitlines())
    assert registry.recipe(name).summary.endswith(".")
    assert re.search(r"arxiv\.org/abs/|\.md\b", header)


@pytest.mark.parametrize("family", registry.families())
def test_each_family_has_a_recipe_for_each_strategy(family):
    recipes = registry.families()[family].recipes
    assert set(recipes) == {kind.kind for kind, _ in FORMS.values()}
    for kind, name in recipes.items():
        assert parse(str(registry.recipe(name).values["strategy"])).kind == kind
