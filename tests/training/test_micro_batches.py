"""What a step that is split needs: two samples wherever batch norm is live, one model in all processes, and a word where it matters."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from safetensors.torch import load_file
from scipy.special import softmax
from sklearn.metrics import log_loss
from tiny import BY_FAMILY
from torch import nn

import zoo
from zoo import api, backbones, folders
from zoo.adaptation.model import AdaptedModel
from zoo.config import build
from zoo.data import EvalBatches, TrainBatches, open_splits
from zoo.errors import ConfigError
from zoo.training import micro_batches
from zoo.training.collect import collect

RESNET, VIT = "timm/test_resnet.r160_in1k", "timm/test_vit.r160_in1k"
SMALL = {
    "weights": "random", "image_size": 32, "precision": "no", "device": "cpu", "num_workers": 0, "tensorboard": False, "augment": "none",
    "drop_path": 0.0, "lr": 1e-3,
}  # fmt: skip
SCRIPT = Path(__file__).with_name("several.py")


def normed(width, outputs):
    return nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, outputs))


def dropping(width, outputs):
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(width, outputs))


def model_of(strategy, family="resnet", head="linear", drop_path=0.0, **options):
    spec = BY_FAMILY[family]
    backbone = backbones.load(spec, "random", drop_path=drop_path)
    return AdaptedModel.build(backbone, 3, strategy=strategy, head=head, **options)


class TestLiveBatchNorm:
    @pytest.mark.parametrize(
        "strategy", ["linear-probe", "partial:1", "lora:2", "norm-only", "bias-only", "lp-ft", "gradual:1", "full"]
    )
    def test_only_full_moves_the_statistics_of_a_backbone(self, strategy):
        assert micro_batches.has_live_batch_norm(model_of(strategy)) is (strategy == "full")

    @pytest.mark.parametrize("strategy", ["linear-probe", "partial:1", "lp-ft", "gradual:1"])
    def test_a_head_of_one_s_own_may_have_some(self, strategy):
        model = model_of(strategy, head=normed)
        assert micro_batches.has_live_batch_norm(model)
        assert not any(module.training for module in model.modules())

    def test_layer_norm_needs_no_second_sample(self):
        assert micro_batches.least(model_of("full", "vit"), build({"batch_size": 1})) == 1

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"batch_size": 1}, "batch_size 1: .* use --batch-size 2 or more"),
            ({"batch_size": 4, "accumulate": 4}, "batch_size 4, accumulate 4: .* use --batch-size 8 or more"),
            ({"batch_size": 7, "accumulate": 2, "processes": 2}, "accumulate 2, processes 2: .* use --batch-size 8 or more"),
        ],
    )
    def test_batches_that_leave_one_sample_are_one_line(self, options, said):
        with pytest.raises(ConfigError, match=said):
            micro_batches.least(model_of("full"), build(options))

    def test_a_batch_of_two_is_enough(self):
        assert micro_batches.least(model_of("full"), build({"batch_size": 8, "accumulate": 4})) == 2


class TestDraws:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"strategy": "full", "family": "vit", "drop_path": 0.2}, True),
            ({"strategy": "linear-probe", "family": "vit", "drop_path": 0.2}, False),
            ({"strategy": "linear-probe", "head": dropping}, True),
            ({"strategy": "linear-probe", "head": normed}, False),
            ({"strategy": "lora:2", "family": "convnext", "lora_dropout": 0.1}, True),
            ({"strategy": "lora:2", "family": "convnext"}, False),
        ],
    )
    def test_dropout_that_is_live_is_found(self, options, expected):
        model = model_of(**options)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        generator = torch.get_rng_state()
        assert micro_batches.draws(model) is expected
        assert torch.equal(torch.get_rng_state(), generator)
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
        assert not any(module.training for module in model.modules())


class TestRuns:
    def test_a_last_batch_of_one_joins_the_step_before_it(self, tmp_path, caplog):
        """1,259 images in steps of 74: 17 of them, and one image more."""
        options = {**SMALL, "strategy": "full", "batch_size": 74, "epochs": 1}
        with caplog.at_level(logging.INFO, "zoo"):
            run = zoo.finetune(RESNET, **options, out=str(tmp_path / "run"))
        assert run.result()["steps"] == 17
        assert "the last 1 of an epoch's 1,259 joins the step before, which has 75" in caplog.text
        assert "not quite" not in caplog.text

    def test_a_dry_run_tells_before_the_processes_are_there(self):
        with pytest.raises(ConfigError, match="batch_size 3, processes 2: .* use --batch-size 4 or more"):
            zoo.finetune(RESNET, **SMALL, strategy="full", batch_size=3, processes=2, dry_run=True)

    def test_a_head_with_batch_norm_on_features_of_before(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO, "zoo"):
            run = zoo.finetune(
                VIT, **SMALL, strategy="linear-probe", head=normed, batch_size=74, epochs=1, out=str(tmp_path / "run")
            )
        assert run.result()["steps"] == 17
        assert "which has 75" in caplog.text

    def test_layer_norm_trains_on_one_as_on_many(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO, "zoo"):
            run = zoo.finetune(VIT, **SMALL, strategy="full", batch_size=74, epochs=1, out=str(tmp_path / "run"))
        assert run.result()["steps"] == 18
        assert "batch norm" not in caplog.text

    @pytest.mark.parametrize(
        ("options", "reasons"),
        [
            ({"backbone": RESNET}, "statistics of batch norm are"),
            ({"backbone": VIT, "drop_path": 0.2}, "masks of dropout are"),
            ({"backbone": RESNET, "drop_path": 0.2}, "statistics of batch norm and masks of dropout are"),
            ({"backbone": VIT}, None),
        ],
    )
    def test_what_splitting_changes_is_said(self, tmp_path, caplog, options, reasons):
        options = {**SMALL, "strategy": "full", "batch_size": 64, "epochs": 0.05, "accumulate": 2, **options}
        with caplog.at_level(logging.INFO, "zoo"):
            zoo.finetune(**options, out=str(tmp_path / "run"))
        assert ("not quite that of whole steps" in caplog.text) is (reasons is not None)
        assert reasons is None or f"steps of 64 samples in 2 micro-batches: {reasons} those of" in caplog.text


def states(folder, processes, **options):
    """Of each evaluation, the whole state of the model in each process."""
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(SCRIPT)]
    given = json.dumps({**SMALL, "processes": processes, **options})
    finished = subprocess.run(
        [*command, str(folder), given], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert finished.returncode == 0, finished.stderr[:2000]
    steps = sorted({int(path.stem.partition("-")[2]) for path in folder.glob("*.safetensors")})
    return {step: [load_file(folder / f"{rank}-{step}.safetensors") for rank in range(processes)] for step in steps}


class TestProcesses:
    def test_every_process_evaluates_the_same_model(self, tmp_path):
        """Each samples of its own; the first step's statistics are the mean of those of the three chunks of its batch."""
        options = {
            "backbone": RESNET,
            "strategy": "full",
            "head": "counting",
            "batch_size": 95,
            "epochs": 2 / 14,
            "eval_every": 1 / 14,
        }
        found = states(tmp_path / "several", 3, **options)
        assert list(found) == [1, 2]
        for first, *others in found.values():
            assert all(torch.equal(tensor, other[name]) for other in others for name, tensor in first.items())
            assert torch.equal(first["head.constant"], torch.full((5,), 0.1))
        seeds = [seed for rank in range(3) for seed in json.loads((tmp_path / "several" / f"{rank}.json").read_text())]
        assert len(set(seeds)) == len(seeds) >= 3 * 2
        assert found[2][0]["head.seen"] == 2 * 32  # the first process's: the others have 32 and 31

        model = AdaptedModel.build(RESNET, 10, strategy="full", weights="random", image_size=32)
        plain = TrainBatches(open_splits(build({})).train, model.backbone.preprocess, batch_size=95, world=1)
        ((_, (batch,)),) = plain.steps(0, 1)
        chunks = np.array_split(np.arange(95), 3)
        means = []
        for chunk in chunks:
            model.train()(batch.inputs[chunk])
            means.append(model.backbone.net.bn1.running_mean.clone())
            model.backbone.net.bn1.running_mean.zero_()
        assert_close(found[1][0]["backbone.net.bn1.running_mean"], torch.stack(means).mean(0))
        assert not torch.allclose(means[0], means[1], rtol=1e-3)

    @pytest.mark.slow
    def test_what_is_saved_is_what_was_validated_and_resumes(self, tmp_path):
        options = {
            **SMALL,
            "strategy": "full",
            "batch_size": 128,
            "epochs": 2,
            "eval_every": 0.5,
            "checkpoint_every": 3,
            "keep": 99,
        }
        run = api.finetune(RESNET, **{**options, "lr": 1e-2}, processes=2, out=str(tmp_path / "run"))
        model, val = zoo.load(run.best).model, open_splits(run.resolved().config).val
        logits, targets = collect(model, EvalBatches(val, model.backbone.preprocess, batch_size=64), torch.device("cpu"))
        best = next(line for line in run.metrics() if line["step"] == run.result()["best_step"])
        assert best["metrics"]["accuracy"] == (logits.argmax(1) == targets).mean() > 0.2
        assert best["metrics"]["log_loss"] == pytest.approx(log_loss(targets, softmax(logits.astype(float), axis=1)), rel=1e-5)
        broken = tmp_path / "broken"
        shutil.copytree(run.path, broken)
        for path in [broken / "result.json", broken / "training.json", *sorted(broken.glob("checkpoints/step-*"))[3:]]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        resumed = api.resume(broken)
        newest = [sorted(one.path.glob("checkpoints/step-*"))[-1] for one in (run, resumed)]
        assert newest[0].name == newest[1].name
        for name in ("model.safetensors", "optimizer.safetensors"):
            assert folders.sha256(newest[0] / name) == folders.sha256(newest[1] / name)
        assert folders.sha256(run.best / "model.safetensors") == folders.sha256(resumed.best / "model.safetensors")
