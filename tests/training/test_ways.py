"""Whichever way a run takes, the result is that of training on images; and each way is taken where it should be."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

import zoo
from zoo import folders, runs
from zoo.adaptation.model import AdaptedModel
from zoo.config import resolve
from zoo.data import open_splits
from zoo.data.splits.folds import assign, groups_of
from zoo.errors import AuditFailed, ConfigError
from zoo.jobs import finetune as jobs
from zoo.jobs.preparing import Extras
from zoo.jobs.runner import AGREEMENT
from zoo.training import loop
from zoo.training.probe import pools
from zoo.types import Labels, Task

TINY = {"backbone": "timm/test_vit.r160_in1k", "weights": "random", "image_size": 32, "precision": "no", "engine": "torch"}
QUICK = {
    **TINY,
    "num_workers": 0,
    "tensorboard": False,
    "augment": "none",
    "batch_size": 128,
    "lr": 1e-3,
    "keep_decoded": "never",
}


@pytest.fixture
def finetune(tmp_path):
    """Fine-tunes on the built-in digits into `tmp_path/NAME`, with a cache of its own."""

    def run(name, **options):
        return zoo.finetune(**{**QUICK, "cache": str(tmp_path / "cache"), "out": str(tmp_path / name), **options})

    return run


def training(run):
    return json.loads((run.path / "training.json").read_text())


def plain_features(model, samples):
    """`[N, D] float64`, by a plain forward."""
    preprocess = model.backbone.preprocess
    images = torch.stack([preprocess.geometry()(samples.item(index)) for index in range(len(samples))])
    with torch.no_grad():
        return model.backbone(preprocess.normalise(images)).double().numpy()


def scaled(rows, scaling):
    """Features as a head is fitted to them, and as the head that ships sees them, which knows no row's own norm."""
    if scaling == "normalised":
        factors = np.sqrt(rows.shape[1]) / np.linalg.norm(rows, axis=1, keepdims=True)
        own = rows * factors
        return own - own.mean(0), rows * np.sqrt(rows.shape[1]) / np.linalg.norm(rows, axis=1).mean() - own.mean(0)
    rows = rows - rows.mean(0)
    deviation = np.maximum(rows.std(0), 0.3 * np.median(rows.std(0))) if scaling == "standardised" else np.sqrt((rows**2).mean())
    return rows / deviation, rows / deviation


def losses(run):
    return [line["train_loss"] for line in run.metrics()]


class TestSolved:
    def test_a_linear_probe_is_solved_and_shipped_as_it_was_solved(self, finetune):
        run = finetune("run", strategy="linear-probe")
        said = training(run)
        assert said["way"] == "the backbone is inert: features are computed once, and the head is solved on them"
        assert re.match(
            r"solution \d+ of \d+: of those in the 95 % interval of the best by accuracy in 5-fold cross-validation of the 1,528 training "
            r"and validation images, the one of lowest log_loss .*; fitted to all of these samples then$",
            said["chosen"],
        )
        assert said["features_difference"] <= AGREEMENT
        assert len(run.metrics()) == said["steps"] <= 39
        assert run.resolved().config.machine.engine == "torch"
        best = [line for line in run.metrics() if line["best"]][-1]
        assert best["step"] == said["best_step"]
        assert best["metrics"]["accuracy"] == run.result()["validation_value"]
        predictor = zoo.load(run.best)
        assert type(predictor.model.head) is nn.Linear
        assert run.value == zoo.evaluate(run.best).values["accuracy"].value

    def test_the_kept_solution_is_as_good_as_scikit_learn_s(self, finetune):
        """By the value of what is minimised, on features of a plain forward of the training and validation samples, scaled here."""
        run = finetune("run", strategy="linear-probe")
        (best,) = [line for line in run.metrics() if line["best"]]
        model, splits = zoo.load(run.best).model, open_splits(run.resolved().config)
        rows = np.concatenate([plain_features(model, splits.train), plain_features(model, splits.val)])
        targets = np.concatenate([splits.train.targets, splits.val.targets])
        rows, _ = scaled(rows, best["scaling"])
        strength = best["strength"]
        reference = LogisticRegression(C=1 / (strength * len(rows)), tol=1e-6, max_iter=20_000).fit(rows, targets)
        loss = log_loss(targets, reference.predict_proba(rows)) + strength / 2 * (reference.coef_**2).sum()
        assert training(run)["objective"] == pytest.approx(loss, abs=1e-4)

    def test_what_is_reported_without_a_test_set_is_what_scikit_learn_gives_for_the_same_folds(self, finetune):
        run = finetune("run", strategy="linear-probe", test_fraction=0)
        (best,) = [line for line in run.metrics() if line["best"]]
        model, splits = zoo.load(run.best).model, open_splits(run.resolved().config)
        rows = np.concatenate([plain_features(model, splits.train), plain_features(model, splits.val)])
        targets = np.concatenate([splits.train.targets, splits.val.targets])
        judged = pools.read(run)
        assert sorted(judged.samples) == list(range(1797))
        folds = assign(targets, groups_of([splits.train, splits.val]), 5, run.resolved().config.machine.seed)
        expected = np.zeros((len(targets), 10))
        fitted_rows, shipped_rows = scaled(rows, best["scaling"])
        for fold in range(5):
            fitted = folds != fold
            reference = LogisticRegression(C=1 / (best["strength"] * fitted.sum()), tol=1e-6, max_iter=20_000)
            expected[~fitted] = reference.fit(fitted_rows[fitted], targets[fitted]).predict_proba(shipped_rows[~fitted])
        result = run.result()
        assert result["split"] == "held-out"
        assert result["samples"] == 1797
        assert result["metrics"]["log_loss"] == pytest.approx(log_loss(targets, expected), abs=1e-3)
        assert result["value"] == pytest.approx((expected.argmax(1) == targets).mean(), abs=2e-3)
        card = (run.best / "README.md").read_text(encoding="utf-8")
        assert "An estimate in 5-fold cross-validation of the 1,797 training and validation images" in card
        assert "of the procedure, not of this file" in card
        with pytest.raises(ConfigError, match="its head was fitted to all images of the run"):
            zoo.evaluate(run.best)

    def test_a_validation_set_of_the_users_stays_one(self, finetune, make_unbalanced):
        run = finetune("run", strategy="backbone", data=make_unbalanced)
        assert run.resolved().config.selection.refit == "train"
        assert "on the validation images" in training(run)["chosen"]
        assert not (run.path / pools.FILE).exists()
        model, splits = zoo.load(run.best).model, open_splits(run.resolved().config)
        (best,) = [line for line in run.metrics() if line["best"]]
        outputs = plain_features(model, splits.val) @ model.head.weight.detach().double().numpy().T
        outputs += model.head.bias.detach().double().numpy()
        assert (outputs.argmax(1) == splits.val.targets).mean() == pytest.approx(best["metrics"]["accuracy"])
        asked = finetune("asked", strategy="backbone", data=make_unbalanced, refit="train+val")
        assert "cross-validation of the 68 training and validation images" in training(asked)["chosen"]

    def test_the_test_set_is_measured_on_the_file_and_never_fitted(self, finetune, tmp_path, make_unbalanced):
        """Other test samples, the same head."""
        first = finetune("first", strategy="backbone", data=make_unbalanced, refit="train+val")
        for file in sorted((Path(make_unbalanced) / "test").rglob("*.png"))[::2]:
            file.unlink()
        second = finetune("second", strategy="backbone", data=make_unbalanced, refit="train+val")
        assert first.result()["split"] == second.result()["split"] == "test"
        assert first.result()["sha256"] == second.result()["sha256"]
        assert second.result()["samples"] == 10

    def test_views_of_a_sample_are_fitted_and_judged_together(self, finetune):
        """Each sample is judged once, as it is, by a head that was fitted to no view of it."""
        run = finetune("run", strategy="backbone", test_fraction=0.6, augment="light", views=2)
        splits = open_splits(run.resolved().config)
        judged = pools.read(run)
        assert sorted(judged.samples) == list(range(len(splits.train) + len(splits.val)))
        assert f"{3 * (len(splits.train) + len(splits.val)) + len(splits.test):,} images" in training(run)["features"]

    def test_refit_is_of_solved_heads(self, finetune, caplog):
        with caplog.at_level("WARNING", "zoo"):
            run = finetune("run", strategy="backbone", head="mlp", epochs=1, refit="train+val")
        assert "and the head is trained on them: --refit not used" in caplog.text
        assert run.resolved().config.selection.refit == "train"

    def test_again_it_computes_nothing_and_gives_the_same_bytes(self, finetune):
        first, second = finetune("first", strategy="backbone"), finetune("second", strategy="backbone")
        assert folders.sha256(first.best / "model.safetensors") == folders.sha256(second.best / "model.safetensors")
        assert "0 computed" in training(second)["features"]

    def test_the_best_is_by_the_metric_that_was_asked_for(self, finetune):
        run = finetune("run", strategy="backbone", metric="log_loss")
        values = [line["metrics"]["log_loss"] for line in run.metrics()]
        # Those beside it were solved to be told apart only.
        assert values[run.result()["best_step"] - 1] == pytest.approx(min(values), rel=0.03)
        assert run.result()["validation_value"] == values[run.result()["best_step"] - 1]

    def test_balanced_classes_are_balanced(self, finetune, tmp_path, make_unbalanced):
        plain = finetune("plain", strategy="backbone", data=make_unbalanced)
        balanced = finetune("balanced", strategy="backbone", data=make_unbalanced, class_weights="balanced")
        assert plain.metrics()[0]["train_loss"] != balanced.metrics()[0]["train_loss"]

    def test_options_for_steps_are_said_to_be_unused(self, finetune, caplog):
        with caplog.at_level("WARNING", "zoo"):
            finetune("run", strategy="backbone", epochs=3)
        (line,) = [record.getMessage() for record in caplog.records if "not used" in record.getMessage()]
        assert line.endswith("the head is solved on them: --epochs, --lr not used; --head-fit stepped trains the head in steps")

    def test_workers_are_timed_where_rows_are_computed_and_not_where_they_are_there(self, finetune, caplog):
        caplog.set_level("INFO", "zoo")
        first = finetune("first", strategy="backbone", num_workers=None)
        assert "ms a sample" in caplog.text
        resolved = first.resolved()
        assert resolved.origins["num_workers"] == "measured"
        assert resolved.config.data.num_workers is not None
        caplog.clear()
        finetune("second", strategy="backbone", num_workers=None)
        assert "ms a sample" not in caplog.text

    def test_what_the_loader_does_not_do_is_said(self, finetune, caplog):
        with caplog.at_level("WARNING", "zoo"):
            finetune("run", strategy="backbone", sampler="weighted", drop_last=True)
        (line,) = [record.getMessage() for record in caplog.records if "not used" in record.getMessage()]
        assert "--sampler, --drop-last" in line

    def test_without_a_cache_it_is_the_same(self, finetune):
        kept, passing = finetune("kept", strategy="backbone"), finetune("passing", strategy="backbone", cache="off")
        assert folders.sha256(kept.best / "model.safetensors") == folders.sha256(passing.best / "model.safetensors")
        assert kept.value == passing.value

    def test_a_run_that_ended_early_is_resumed_from_its_features(self, finetune):
        run = finetune("run", strategy="backbone")
        before = folders.sha256(run.best / "model.safetensors")
        (run.path / "result.json").unlink()
        again = zoo.resume(run.path)
        assert "0 computed" in training(again)["features"]
        assert folders.sha256(again.best / "model.safetensors") == before


@pytest.fixture
def make_unbalanced(tmp_path):
    """The digits 0 and 1 as PNG files: 40 and 8 to train, 10 each to validate and test."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for digit, count in ((0, 40), (1, 8)):
        images = np.uint8(bunch.images[bunch.target == digit] * 15.9)
        for split, start, stop in (("train", 0, count), ("val", 50, 60), ("test", 60, 70)):
            folder = tmp_path / "unbalanced" / split / str(digit)
            folder.mkdir(parents=True)
            for number in range(start, stop):
                Image.fromarray(images[number]).save(folder / f"{number}.png")
    return str(tmp_path / "unbalanced")


class TestRows:
    @pytest.mark.parametrize(
        ("strategy", "head"),
        [("linear-probe", "mlp"), ("linear-probe", "attention-pool"), ("partial:2", "linear"), ("partial:1", "cosine")],
    )
    def test_training_on_rows_is_training_on_pictures(self, finetune, strategy, head):
        options = {"strategy": strategy, "head": head, "epochs": 2}
        rows = finetune("rows", **options, keep_features="always")
        assert "computed once" in training(rows)["way"]
        pictures = finetune("images", **options, keep_features="never")
        assert training(pictures)["way"] == "nothing is computed once (keep_features never)"
        assert losses(rows) == pytest.approx(losses(pictures), rel=1e-4)
        assert rows.result()["metrics"]["log_loss"] == pytest.approx(pictures.result()["metrics"]["log_loss"], rel=1e-3)

    def test_a_run_that_ended_before_it_was_measured_goes_on(self, finetune):
        """The engine that was chosen stands in its options by then."""
        run = finetune("run", strategy="backbone", head="mlp", epochs=1, engine="auto")
        assert run.resolved().config.machine.engine != "auto"
        before = run.value
        (run.path / "result.json").unlink()
        assert zoo.resume(run.path).value == before

    def test_a_stepped_linear_head(self, finetune):
        rows = finetune("rows", strategy="backbone", head_fit="stepped", epochs=2)
        assert "the head is trained on them" in training(rows)["way"]
        pictures = finetune("images", strategy="backbone", epochs=2, keep_features="never")
        assert losses(rows) == pytest.approx(losses(pictures), rel=1e-4)

    def test_cached_views_are_the_epochs_of_live_augmentation(self, finetune):
        options = {"strategy": "backbone", "head_fit": "stepped", "augment": "light", "epochs": 3}
        live, cached, fewer = (finetune(f"views{views}", views=views, **options) for views in (None, 3, 2))
        assert losses(cached) == pytest.approx(losses(live), rel=1e-4)
        assert losses(fewer)[:2] == pytest.approx(losses(live)[:2], rel=1e-4)
        assert losses(fewer)[2] != pytest.approx(losses(live)[2], rel=1e-4)

    def test_activations_that_do_not_fit_are_not_kept(self, finetune, tmp_path):
        run = finetune("run", strategy="partial:1", epochs=0.1, cache_gb=1e-5)
        assert "there was room for 0.0 MB (--cache-gb, the disk) when this was decided" in training(run)["way"]
        assert not (tmp_path / "cache" / "activations").exists()
        assert run.resolved().config.data.keep_features == "never"

    def test_features_that_cannot_be_kept_are_refused(self, finetune):
        for options, why in (
            ({"strategy": "full"}, "training reaches the first stage"),
            ({"strategy": "backbone", "augment": "light"}, r"images are varied anew each epoch \(augment light\)"),
        ):
            with pytest.raises(ConfigError, match=f"keep_features is always, and {why}.*give --keep-features auto"):
                finetune("run", **options, keep_features="always")

    def test_little_to_save_is_not_saved(self, finetune, monkeypatch):
        monkeypatch.setattr("zoo.training.method.WORTH", 1.0)
        assert "not worth computing once" in training(finetune("run", strategy="partial:1", epochs=0.1))["way"]

    def test_the_frozen_part_is_checked_too(self, finetune, monkeypatch):
        train = loop.train

        def drifting(job, *rest):
            with torch.no_grad():
                job.whole.backbone.net.patch_embed.proj.weight.add_(1e-6)
            return train(job, *rest)

        monkeypatch.setattr(loop, "train", drifting)
        with pytest.raises(AuditFailed, match=r"patch_embed\.proj\.weight"):
            finetune("run", strategy="partial:1", epochs=0.1, keep_features="always")


class TestDecoded:
    def test_decoded_pictures_change_nothing(self, finetune, make_unbalanced, tmp_path):
        options = {"strategy": "full", "epochs": 2, "augment": "strong", "data": make_unbalanced, "batch_size": 16}
        kept, plain = finetune("kept", keep_decoded="always", **options), finetune("plain", **options)
        assert {path.name for path in (tmp_path / "cache").iterdir()} == {"images", "checked"}
        assert folders.sha256(kept.best / "model.safetensors") == folders.sha256(plain.best / "model.safetensors")


class TestLpFt:
    def test_it_starts_at_the_solved_head_and_trains_everything(self, finetune):
        probe = finetune("probe", strategy="linear-probe")
        run = finetune("run", strategy="lp-ft", epochs=1, lr=1e-12, label_smoothing=0.0)
        # At so small a rate nothing moves: the probe is left as it was.
        assert run.result()["validation_value"] == pytest.approx(probe.result()["validation_value"], abs=0.06)
        assert run.result()["trained_tensors"] > 20
        first, second = run.metrics()
        assert first["train_loss"] is None
        assert first["metrics"] == pytest.approx(second["metrics"])
        assert second["train_loss"] < 0.9 * np.log(10)

    def test_its_head_has_not_seen_the_validation_samples(self, finetune, make_unbalanced):
        """By which the best of what follows is chosen."""
        options = {"strategy": "lp-ft", "epochs": 1, "lr": 1e-12, "label_smoothing": 0.0, "data": make_unbalanced}
        first = finetune("first", **options)
        for file in sorted((Path(make_unbalanced) / "val").rglob("*.png"))[::2]:
            file.unlink()
        second = finetune("second", **options)
        heads = [zoo.load(run.best).model.head.weight.detach() for run in (first, second)]
        torch.testing.assert_close(*heads, atol=1e-6, rtol=1e-5)

    def test_the_first_step_sees_what_the_head_was_solved_on(self, finetune):
        """Batch-norm by the batch's own statistics would give other features, which the head does not fit."""
        network = {"backbone": "timm/test_resnet.r160_in1k", "weights": "random"}
        run = finetune("run", **network, strategy="lp-ft", epochs=1, lr=1e-12, label_smoothing=0.0)
        pictures, model = open_splits(run.resolved().config).train, zoo.load(run.best)
        some = list(range(0, len(pictures), 7))
        logits = model(torch.stack([model.preprocess.prepare(pictures.item(index)) for index in some])).detach()
        loss = float(nn.functional.cross_entropy(logits, torch.from_numpy(pictures.targets[some])))
        assert run.metrics()[1]["train_loss"] == pytest.approx(loss, rel=0.15)

    def test_the_probe_is_the_best_where_training_does_harm(self, finetune):
        run = finetune("run", strategy="lp-ft", epochs=1, lr=10.0, clip=None)
        assert run.result()["best_step"] == 0
        assert (
            run.result()["validation_value"] == run.metrics()[0]["metrics"]["accuracy"] > run.metrics()[1]["metrics"]["accuracy"]
        )
        assert json.loads((run.best / "config.json").read_text())["zoo"]["layout"] == "timm"

    def test_another_head_is_refused(self, finetune):
        with pytest.raises(ConfigError, match="strategy lp-ft: a solved head is linear, and head mlp is not; use full"):
            finetune("run", strategy="lp-ft", head="mlp")


class TestGradual:
    def test_a_stage_joins_when_its_time_has_come_and_not_before(self, tmp_path, finetune, monkeypatch):
        digests = []
        original = AdaptedModel.enter_phase

        def entering(model, number):
            digests.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            original(model, number)

        monkeypatch.setattr(AdaptedModel, "enter_phase", entering)
        run = finetune("run", strategy="gradual:0.2", epochs=4)
        stages = zoo.load(run.best).model.backbone.stages
        assert len(digests) == len(stages) + 1
        for phase in range(len(digests) - 1):
            changed = {name for name, tensor in digests[phase + 1].items() if not torch.equal(tensor, digests[phase][name])}
            joined = {f"backbone.net.{name}" for stage in stages[len(stages) - phase :] for name in stage.parameters}
            assert changed == joined | {"head.weight", "head.bias"}

    def test_training_that_ends_before_the_last_stage_is_refused(self, finetune):
        with pytest.raises(ConfigError, match=r"has \d+ stages, and --epochs 2 end before all of them train; give more epochs"):
            finetune("run", strategy="gradual:1", epochs=2)

    def test_going_on_in_a_later_phase_gives_the_same_bytes(self, finetune):
        whole = finetune("whole", strategy="gradual:0.2", epochs=4, checkpoint_every=9)
        broken = finetune("broken", strategy="gradual:0.2", epochs=4, checkpoint_every=9, keep=100)
        for step in sorted(broken.checkpoints.glob("step-*"))[3:]:
            for path in sorted(step.rglob("*"), reverse=True):
                path.unlink()
            step.rmdir()
        (broken.path / "result.json").unlink()
        again = zoo.resume(runs.open_run(broken.path))
        assert folders.sha256(again.best / "model.safetensors") == folders.sha256(whole.best / "model.safetensors")


@pytest.mark.parametrize("strategy", ["linear-probe", "partial:1"])
def test_values_are_learnt_in_their_own_unit(tmp_path, strategy):
    """The written digit as a number of thousands: solved at once it is far nearer than the mean is; stepped, it begins at the mean."""
    splits = open_splits(resolve([("flag", QUICK)]).config)

    def valued(pictures):
        return replace(pictures, targets=1.7e9 + 1000.0 * pictures.targets[:, None])

    facts = replace(
        splits.facts, task=Task.REGRESSION, counts={name: {"size": len(part)} for name, part in splits.parts().items()}
    )
    parts = {name: valued(part) for name, part in splits.parts().items()}
    given = replace(splits, **parts, labels=Labels(("size",)), facts=facts)
    flags = {**QUICK, "strategy": strategy, "epochs": 1, "cache": str(tmp_path / "cache"), "out": str(tmp_path / "run")}
    run = jobs.finetune(resolve([("flag", flags)]), Extras(splits=given))
    spread = float(given.test.targets.std())
    assert run.metric == "rmse"
    assert run.value < (0.9 if strategy == "linear-probe" else 1.2) * spread
    model = zoo.load(run.best)
    values = [one.values["size"] for one in model.predict([given.test.item(index) for index in range(len(given.test))])]
    assert run.value == pytest.approx(float(np.sqrt(np.mean((values - given.test.targets[:, 0]) ** 2))), rel=1e-4)
