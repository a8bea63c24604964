"""Options, strategies, recipes, names and YAML of any kind."""

from pathlib import Path

import pytest
from fuzz.inputs import FUZZ, NASTY, altered, damaged, odd, only_zoo_errors, texts
from hypothesis import given
from hypothesis import strategies as st

from zoo import config, configure, content, registry, runs, strategy
from zoo.config import options

NAMES = st.one_of(st.sampled_from(list(options())), texts)
FORMS = st.sampled_from(
    [
        *(form.written() for form in strategy.forms().values()),
        *strategy.aliases(),
        "partial:",
        "lora:",
        "gradual:",
        "partial:75%",
        "full:",
    ]
)
CONFIG = content.dump_yaml(config.FinetuneConfig().flat(), dict.fromkeys(options(), "default"))
RECIPES = [path.read_bytes() for path in content.files("recipes", ".yaml").values()]


@FUZZ
@given(st.dictionaries(NAMES, odd, max_size=4))
def test_options(values):
    with only_zoo_errors():
        built = config.build(values)
        assert content.parse_yaml(content.dump_yaml(built.flat()), "again") == built.flat()


@pytest.mark.parametrize("value", NASTY)
def test_every_option_that_is_a_text(value):
    for option in options().values():
        with only_zoo_errors():
            config.build({option.name: value})


@FUZZ
@given(st.lists(st.tuples(texts, st.dictionaries(NAMES, odd, max_size=3)), max_size=3))
def test_layers(layers):
    with only_zoo_errors():
        config.resolve(layers)


@FUZZ
@given(st.one_of(texts, st.tuples(FORMS, texts).map("".join)))
def test_strategies(text):
    with only_zoo_errors():
        assert strategy.parse(str(strategy.parse(text))) == strategy.parse(text)


@FUZZ
@given(st.dictionaries(NAMES, odd, max_size=2), st.one_of(st.none(), texts), st.one_of(st.none(), texts))
def test_what_a_run_is_asked_for(flags, recipe, config_file):
    with only_zoo_errors():
        configure.configure(flags, recipe=recipe, config=config_file)


@FUZZ
@given(texts)
def test_names(name):
    for look_up in (registry.resolve, registry.head, registry.recipe, lambda name: registry.function("sampler", name)):
        with only_zoo_errors():
            look_up(name)
    with only_zoo_errors():
        registry.backbones(name)


YAML_PARTS = [
    "{",
    "[",
    "- ",
    "? ",
    ": ",
    "a: ",
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "<<: ",
    "#",
    '"',
    "'",
]
yaml_texts = st.one_of(
    st.lists(st.one_of(st.sampled_from(YAML_PARTS), texts), max_size=12).map("".join),
    st.tuples(st.sampled_from(YAML_PARTS), st.integers(1, 3000)).map(lambda pair: pair[0] * pair[1]),
)


@FUZZ
@given(yaml_texts)
def test_yaml(text):
    with only_zoo_errors():
        content.parse_yaml(text, "mine.yaml")


@FUZZ
@given(
    st.one_of(
        yaml_texts.map(lambda text: text.encode("utf-8", "surrogatepass")), st.sampled_from(RECIPES).flatmap(damaged), st.binary()
    )
)
def test_recipes(data):
    Path("mine.yaml").write_bytes(data)
    with only_zoo_errors():
        configure.configure({}, recipe="./mine.yaml")


@FUZZ
@given(damaged(CONFIG.encode()))
def test_configs_of_runs(data):
    Path("config.yaml").write_bytes(data)
    with only_zoo_errors():
        runs.read_config(Path("config.yaml"))


@FUZZ
@given(altered(config.FinetuneConfig().flat()))
def test_values_of_a_config(values):
    if isinstance(values, dict):
        with only_zoo_errors():
            config.build(values)
