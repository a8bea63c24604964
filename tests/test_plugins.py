"""Installed packages that are broken, one of each kind: each breaks itself alone."""

import logging
from pathlib import Path

import pytest
from packages import install

import zoo
from zoo import registry
from zoo.backbones import weights
from zoo.errors import ConfigError, UnknownName
from zoo.strategy import parse

GROUPS = ("zoo.backbones", "zoo.heads", "zoo.recipes", "zoo.weights")
SOUND = """
from zoo.backbones.weights import WeightPackage
from zoo.registry import BackboneSpec

BACKBONE = BackboneSpec("{name}-net", "resnet18.a1_in1k", None)
TAKEN = BackboneSpec("resnet18", "resnet34.a1_in1k", None)
RECIPE = __file__.replace("{name}.py", "{name}.yaml")
WEIGHTS = WeightPackage("{name}", "{name}.inner", "w.pth", "mit")
def head(in_features, num_outputs): ...
"""


def everything() -> dict[str, set[str]]:
    """What each group offers, and that a backbone, its recipe and its weights are found."""
    spec = registry.resolve("resnet18")
    assert registry.default_recipe(spec, parse("full")) is not None
    assert registry.head("linear")
    weights.local(spec)
    return {
        "backbones": {one.name for one in registry.backbones()},
        "heads": set(registry.heads()),
        "recipes": set(registry.recipes()),
        "weights": {name for name, _ in weights.packages().items()},
    }


@pytest.mark.parametrize(
    ("name", "code", "attribute", "complaint"),
    [
        ("raises_on_import", "raise RuntimeError('two\\nlines')", "X", "cannot be imported: two lines"),
        ("leaves_on_import", "import sys; sys.exit(3)", "X", "cannot be imported: 3"),
        ("lacks_a_name", "", "X", "cannot be imported: module 'lacks_a_name' has no attribute 'X'"),
        ("is_something_else", "X = 3", "X", "is a "),
    ],
)
def test_a_broken_package_is_left_out_in_one_line_a_group(
    site: Path, caplog: pytest.LogCaptureFixture, name: str, code: str, attribute: str, complaint: str
) -> None:
    before = everything()
    line = f"{name} = {name}:{attribute}"
    install(site, name, code, backbones=line, heads=line, recipes=line, weights=line)
    with caplog.at_level(logging.WARNING, logger="zoo"):
        after = everything()
        assert everything() == after
    assert after == {**before, "heads": before["heads"] | {name}}  # a head is imported when it is asked for
    said = [record.getMessage() for record in caplog.records]
    assert said
    assert len(said) == len(set(said))
    assert all(complaint in one or "is not a recipe" in one for one in said)
    assert all("\n" not in one and f"plug-in {name!r}" in one and f"pip uninstall {name}" in one for one in said)
    with pytest.raises(ConfigError, match=f"plug-in {name!r}.*pip uninstall {name}") as error:
        registry.head(name)
    assert "\n" not in str(error.value)


def test_a_sound_package_is_found_beside_a_broken_one(site: Path) -> None:
    install(site, "brokenone", "raise OSError", backbones="brokenone = brokenone:X", recipes="brokenone = brokenone:X")
    install(
        site,
        "soundone",
        SOUND.format(name="soundone"),
        backbones="soundone = soundone:BACKBONE",
        heads="soundhead = soundone:head",
        recipes="soundrecipe = soundone:RECIPE",
        weights="soundweights = soundone:WEIGHTS",
    )
    found = everything()
    assert "soundone-net" in found["backbones"]
    assert "soundrecipe" in found["recipes"]
    assert "soundweights" in found["weights"]
    assert callable(registry.head("soundhead"))
    # Its weights are in a module that is not there, below one that is not a package: not installed, and no error.
    package = dict(weights.packages().items())["soundweights"]
    assert package.file() is None


def test_a_plug_in_takes_no_name_of_zoos(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(
        site,
        "takesnames",
        SOUND.format(name="takesnames"),
        backbones="taken = takesnames:TAKEN",
        heads="linear = takesnames:head",
        recipes="partial = takesnames:RECIPE",
    )
    with caplog.at_level(logging.WARNING, logger="zoo"):
        everything()
        assert registry.resolve("resnet18").id == "resnet18.a1_in1k"
        assert registry.head("linear").__module__ == "zoo.adaptation.heads.linear"
        assert registry.recipe("partial").values["strategy"] == "partial:1"
    said = " | ".join(record.getMessage() for record in caplog.records)
    assert all(
        words in said
        for words in (
            "'resnet18', a name that is taken",
            "'linear' (takesnames:head) has a name that zoo has",
            "'partial' (takesnames:RECIPE) has a name",
        )
    )
    assert said.count("takesnames") >= 3


def test_two_packages_that_define_one_name_leave_the_others(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("firstpack", "secondpack"):
        install(site, name, SOUND.format(name=name), heads=f"both = {name}:head")
    with caplog.at_level(logging.WARNING, logger="zoo"):
        assert "linear" in registry.heads()
    assert "'both' is defined by firstpack and by secondpack" in caplog.text
    with pytest.raises(UnknownName, match="no head 'both'"):
        registry.head("both")


def test_the_errors_are_in_the_package() -> None:
    for name in ("ZooError", "ConfigError", "DataError", "WeightsError", "CheckpointError", "OutputError", "RunFailed"):
        assert issubclass(getattr(zoo, name), zoo.ZooError)
