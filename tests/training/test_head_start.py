"""Where a head that is trained in steps begins, and what that makes of a run; and what batch-norm does meanwhile."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

import zoo
from zoo import folders, registry
from zoo.configure import configure
from zoo.errors import ConfigError
from zoo.strategy import parse

QUICK = {
    "backbone": "timm/test_resnet.r160_in1k",
    "image_size": 32,
    "precision": "no",
    "engine": "torch",
    "num_workers": 0,
    "tensorboard": False,
    "augment": "none",
    "batch_size": 128,
    "epochs": 1,
    "lr": 1e-12,
}
"""At this rate nothing moves: what is measured after an epoch is what training began with."""


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A file of weights: what a network begins with in place of random numbers is taken for pretrained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm.create_model("test_resnet.r160_in1k", pretrained=False, zero_init_last=False).state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def digits():
    """400 images of digits and their classes."""
    found = load_digits()
    return np.repeat((found.images[:400, ..., None] * 15).astype(np.uint8), 3, axis=-1), found.target[:400]


@pytest.fixture
def finetune(tmp_path, pretrained, digits):
    def run(name, **options):
        given = {
            **QUICK,
            "data": digits,
            "weights": pretrained,
            "cache": str(tmp_path / "cache"),
            "out": str(tmp_path / name),
            **options,
        }
        return zoo.finetune(**given)

    return run


@pytest.mark.parametrize(
    "strategy", ["full", "partial:1", "partial:2", "lora:2", "norm-only", "bias-only", "gradual:0.1", "lp-ft"]
)
def test_a_stepped_strategy_begins_at_the_probe(finetune, strategy):
    """Of heads solved on the training samples alone: what chooses the best step has been fitted by none."""
    options = {"lora_targets": "layer4.*conv.*"} if "lora" in strategy else {}
    run = finetune("run", strategy=strategy, head_start="auto", **options)
    probe = finetune("probe", strategy="linear-probe", refit="train")
    first, *_, last = run.metrics()
    assert (first["step"], first["train_loss"]) == (0, None)
    assert run.resolved().config.model.head_start == "solved"
    assert first["metrics"]["accuracy"] == last["metrics"]["accuracy"]
    assert first["metrics"]["accuracy"] == pytest.approx(probe.result()["validation_value"], abs=0.1)


def test_what_never_beats_the_probe_ships_its_head_and_says_so(finetune):
    run = finetune("run", strategy="full", lr=0.3, clip=None)
    assert run.result()["best_step"] == 0
    assert run.result()["validation_value"] == run.metrics()[0]["metrics"]["accuracy"] > run.metrics()[1]["metrics"]["accuracy"]
    assert "the solved head on the backbone as it was" in (run.best / "README.md").read_text()


@pytest.mark.parametrize(
    "options",
    [
        {"head_start": "random"},
        {"head": "mlp"},
        {"weights": "random"},
        {"strategy": "linear-probe", "head_fit": "stepped"},
    ],
    ids=["asked", "not-linear", "nothing-pretrained", "probe-in-steps"],
)
def test_a_head_begins_at_random_values(finetune, options):
    run = finetune("run", **{"strategy": "full", **options})
    assert run.resolved().config.model.head_start == "random"
    assert [line["step"] for line in run.metrics()] == [3]


def test_a_head_that_is_kept_begins_as_it_was(finetune, tmp_path, digits):
    before = finetune("before", strategy="full", lr=1e-3)
    given = {**QUICK, "strategy": "full", "init_from": str(before.best), "keep_head": True, "cache": str(tmp_path / "cache")}
    del given["backbone"], given["image_size"]
    after = zoo.finetune(out=str(tmp_path / "after"), data=digits, **given)
    assert after.resolved().config.model.head_start == "random"
    heads = [zoo.load(run.best).model.head.weight.detach() for run in (before, after)]
    torch.testing.assert_close(*heads)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "full", "head": "mlp"}, "head_start solved: a solved head is linear, and head mlp is not"),
        ({"strategy": "full", "keep_head": True}, "keep_head and head_start solved both say where the head begins"),
    ],
)
def test_a_head_that_cannot_be_solved_is_refused(finetune, tmp_path, options, message):
    if "keep_head" in options:
        options = {**options, "init_from": str(finetune("before", strategy="full").best), "weights": None}
    with pytest.raises(ConfigError, match=message):
        finetune("run", head_start="solved", **options)


def test_lp_ft_without_its_solved_head_is_refused(finetune):
    with pytest.raises(ConfigError, match="strategy lp-ft begins at a solved head, and head_start is random: use full"):
        finetune("run", strategy="lp-ft", head_start="random")


def test_a_run_that_is_repeated_by_its_config_is_the_same(finetune, tmp_path):
    """The decision stands in config.yaml."""
    run = finetune("run", strategy="partial:1", lr=1e-3, data="builtin:digits")
    again = zoo.finetune(config=run.path / "config.yaml", out=str(tmp_path / "again"))
    assert folders.sha256(run.best / "model.safetensors") == folders.sha256(again.best / "model.safetensors")


@pytest.mark.parametrize(
    ("strategy", "start"), [("lora", "random"), ("full", "auto"), ("partial", "auto"), ("norm-only", "auto")]
)
@pytest.mark.parametrize("backbone", ["resnet50", "vit_small_patch16_224", "all-MiniLM-L6-v2", "timm/test_resnet.r160_in1k"])
def test_default_recipes_say_where_their_head_begins(backbone, strategy, start):
    recipe = registry.default_recipe(registry.resolve(backbone), parse(strategy))
    assert recipe.values.get("head_start", "auto") == start
    assert configure({"backbone": backbone, "strategy": strategy}).config.model.head_start == start


class NormedHead(nn.Sequential):
    """A head with batch-norm of its own."""

    def __init__(self, width, count):
        super().__init__(nn.BatchNorm1d(width), nn.Linear(width, count))


class TestBatchNorm:
    def statistics(self, run):
        return {name: tensor for name, tensor in zoo.load(run.best).model.backbone.state_dict().items() if "running_" in name}

    def test_statistics_of_pretrained_weights_rest(self, finetune, pretrained):
        run = finetune("run", strategy="full", lr=1e-3)
        assert run.resolved().config.model.batch_norm == "frozen"
        base = zoo.backbones.load(registry.resolve(QUICK["backbone"]), pretrained).state_dict()
        moved = self.statistics(run)
        assert moved
        assert all(torch.equal(tensor, base[name]) for name, tensor in moved.items())
        assert "batch-norm statistics inert" in (run.path / "training.json").read_text()

    @pytest.mark.parametrize("options", [{"batch_norm": "live"}, {"weights": "random"}], ids=["asked", "nothing-pretrained"])
    def test_live_statistics_change_and_ship(self, finetune, options):
        run = finetune("run", strategy="full", lr=1e-3, head_start="random", **options)
        assert run.resolved().config.model.batch_norm == "live"
        assert any(float(tensor.abs().max()) not in (0.0, 1.0) for tensor in self.statistics(run).values())
        assert "batch-norm statistics included" in (run.path / "training.json").read_text()

    @pytest.mark.parametrize("strategy", ["full", "partial:1"])
    def test_a_head_that_has_some_of_its_own_is_no_matter(self, finetune, digits, tmp_path, strategy):
        """What is settled is of the backbone; a run by its config, or one that goes on, is not refused for what the head has."""
        run = finetune("run", strategy=strategy, head=NormedHead)
        assert run.resolved().config.model.batch_norm == "frozen"
        again = zoo.finetune(config=run.path / "config.yaml", head=NormedHead, data=digits, out=str(tmp_path / "again"))
        assert folders.sha256(run.best / "model.safetensors") == folders.sha256(again.best / "model.safetensors")

    @pytest.mark.parametrize("strategy", ["partial:1", "lp-ft", "lora:2"])
    def test_only_full_may_have_them_live(self, finetune, strategy):
        with pytest.raises(ConfigError, match=f"batch_norm live is for strategy full; under {strategy} its statistics rest"):
            finetune("run", strategy=strategy, batch_norm="live")
