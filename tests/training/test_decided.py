"""A run's config.yaml holds every decision as a value: read back, its comments gone, it gives the same run on any machine."""

import json
import shutil

import pytest
from configs import bare

import zoo
from zoo import content, decisions, folders, runs
from zoo.config import resolve
from zoo.decisions import Decision
from zoo.errors import ConfigError
from zoo.jobs import preparing
from zoo.training import launch

TINY = {
    "backbone": "timm/test_vit.r160_in1k",
    "weights": "random",
    "image_size": 32,
    "tensorboard": False,
    "num_workers": 0,
    "batch_size": 128,
    "epochs": 1,
}
WAYS = {
    "solved": {"strategy": "linear-probe"},
    "rows": {"strategy": "partial:1", "augment": "none"},
    "samples": {"strategy": "full"},
}


def weights(run):
    return folders.sha256(run.best / "model.safetensors")


def training(run):
    return json.loads((run.path / "training.json").read_text())


def change(run, **values):
    """Other values in the config.yaml of a run, whose comments go too."""
    (run.path / "config.yaml").write_text(content.dump_yaml(run.resolved().config.flat() | values))


def unfinish(run):
    (run.path / "result.json").unlink()


@pytest.mark.parametrize(
    ("flags", "precision", "features"),
    [
        ({}, {"no", "bf16"}, "no"),
        ({"precision": "auto"}, {"no", "bf16"}, "no"),
        ({"precision": "bf16"}, {"bf16"}, "bf16"),
        ({"precision": "bf16", "feature_precision": "no"}, {"bf16"}, "no"),
        ({"precision": "no", "feature_precision": "bf16"}, {"no"}, "bf16"),
    ],
)
def test_the_arithmetic_of_features_is_settled_as_a_value_and_stays(flags, precision, features):
    settled = launch.settle(resolve([("flag", {**flags, "device": "cpu"})]))
    machine = settled.config.machine
    assert machine.precision in precision
    assert machine.feature_precision == features
    assert launch.settle(resolve([("config x", settled.config.flat())])).config == settled.config


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("arithmetic", [{}, {"precision": "bf16", "feature_precision": "no"}])
def test_a_config_without_its_comments_repeats_the_run(tmp_path, method, arithmetic):
    first = zoo.finetune(**TINY, **WAYS[method], **arithmetic, out=str(tmp_path / "first"))
    text = tmp_path / "bare.yaml"
    text.write_text(bare(first.path / "config.yaml"))
    assert "#" not in text.read_text()
    again = zoo.finetune(config=text, out=str(tmp_path / "again"), cache=str(tmp_path / "other cache"))
    assert weights(again) == weights(first)
    kept = {name: value for name, value in first.resolved().config.flat().items() if name not in ("out", "cache")}
    assert again.resolved().config.flat() | kept == again.resolved().config.flat()


@pytest.mark.parametrize("kept", ["always", "never"])
def test_whether_features_are_kept_is_settled_before_it_matters(tmp_path, kept):
    """A resumed run does as it began, whatever the room on the disk, and a checkpoint belongs to the run either way."""
    run = zoo.finetune(
        **{**TINY, "epochs": 2}, **WAYS["rows"], keep_features=kept, checkpoint_every=5, keep=9, out=str(tmp_path / "run")
    )
    before = weights(run)
    unfinish(run)
    for step in sorted(run.checkpoints.iterdir())[2:]:
        shutil.rmtree(step)
    change(run, cache_gb=1e-6)
    assert weights(zoo.resume(run.path)) == before
    assert training(run)["way"].startswith("activations" if kept == "always" else "nothing is computed once")


def test_what_was_measured_refuses_no_resume(tmp_path):
    run = zoo.finetune(**{**TINY, "epochs": 2}, **WAYS["rows"], checkpoint_every=5, keep=9, out=str(tmp_path / "run"))
    assert run.resolved().config.data.keep_features == "always"
    unfinish(run)
    for step in sorted(run.checkpoints.iterdir())[2:]:
        shutil.rmtree(step)
    change(run, keep_features="never", num_workers=1)
    assert zoo.resume(run.path).status == "finished"


@pytest.mark.parametrize(
    ("task", "values", "said"),
    [
        ("regression", {"class_weights": "balanced"}, "class_weights is for classes, and the task is regression; leave it out"),
        ("multilabel", {"class_weights": "balanced"}, "class_weights is for classes, and the task is multilabel; leave it out"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_wherever_it_came_from(task, values, said, tmp_path):
    for origin in ("flag", "recipe x"):
        with pytest.raises(ConfigError, match=said):
            preparing.by_task(resolve([(origin, values)]), _splits(task, tmp_path), None)


def test_smoothing_of_classes_is_not_used_for_values_and_that_is_said(caplog, tmp_path):
    caplog.set_level("INFO", "zoo")
    for origin in ("flag", "recipe x"):
        settled, _ = preparing.by_task(resolve([(origin, {"label_smoothing": 0.1})]), _splits("regression", tmp_path), None)
        assert settled.config.optim.label_smoothing == 0
    assert caplog.text.count("label_smoothing is for classes, and the task is regression: it is not used") == 2


def _splits(task, folder):
    from zoo.config import build
    from zoo.data import open_splits

    table = folder / "table.csv"
    labels = (lambda n: f"{n}.5") if task == "regression" else (lambda n: "a|b" if n % 2 else "a")
    rows = [f"a text with number {number},{labels(number)}" for number in range(60)]
    table.write_text("text,label\n" + "\n".join(rows) + "\n")
    more = {"label_delimiter": "|"} if task == "multilabel" else {}
    return open_splits(build({"data": str(table), "text": "text", "label": "label", "task": task, **more}))


AUTO = {**TINY, "strategy": "linear-probe"}
"""An engine that is decided on, in 1,797 digits."""
OTHERS = {**AUTO, "val_fraction": 0.3}
"""The same samples in other sets."""


def records(place):
    """What was decided, the file by whether it is of these very samples or of so many."""
    found = {}
    for path in sorted((place / "decisions").iterdir()):
        facts = json.loads((path / "facts.json").read_text())
        found["size" if isinstance(facts["samples"], int) else "samples"] = path / "decision.json"
    return found


def decide(file, **values):
    """Put another decision in the place of one."""
    kept = json.loads(file.read_text())
    decisions._write(file, Decision(kept["options"] | values, kept["why"]))


class TestDecidedOnce:
    def test_equal_runs_take_the_record_and_others_of_the_size_too(self, tmp_path, caplog):
        """Changed by hand, so that another measurement would be seen."""
        place = tmp_path / "cache"
        first = zoo.finetune(**AUTO, cache=str(place), out=str(tmp_path / "first"))
        settled = first.resolved().config.machine
        assert (settled.engine, settled.feature_batch_size) == ("torch", 16)  # few and small: no conversion pays
        for file in records(place).values():
            decide(file, feature_batch_size=8)
        caplog.set_level("INFO", "zoo")
        again = zoo.finetune(**AUTO, cache=str(place), out=str(tmp_path / "again"))
        shutil.rmtree(place / "features")
        other = zoo.finetune(**OTHERS, cache=str(place), out=str(tmp_path / "other"))
        assert [run.resolved().config.machine.feature_batch_size for run in (again, other)] == [8, 8]
        assert "engine torch: " not in caplog.text

    def test_what_was_computed_is_found_whatever_was_measured_since(self, tmp_path):
        """The samples of another split of the same data, most of which are there."""
        place = tmp_path / "cache"
        zoo.finetune(**AUTO, feature_batch_size=8, cache=str(place), out=str(tmp_path / "first"))
        again = zoo.finetune(**OTHERS, cache=str(place), out=str(tmp_path / "again"))
        assert again.resolved().config.machine.feature_batch_size == 8
        assert "0 computed" in training(again)["features"]

    def test_equal_runs_stay_equal_whatever_is_computed_between_them(self, tmp_path):
        place = tmp_path / "cache"
        first = zoo.finetune(**AUTO, cache=str(place), out=str(tmp_path / "first"))
        for batch in (8, 32):
            zoo.finetune(**AUTO, feature_batch_size=batch, cache=str(place), out=str(tmp_path / f"with {batch}"))
        again = zoo.finetune(**AUTO, cache=str(place), out=str(tmp_path / "again"))
        assert again.resolved().config.machine == first.resolved().config.machine
        assert weights(again) == weights(first)

    def test_a_resumed_run_and_one_from_a_config_ask_no_record(self, tmp_path):
        place = tmp_path / "cache"
        run = zoo.finetune(**AUTO, cache=str(place), out=str(tmp_path / "run"))
        before = weights(run)
        unfinish(run)
        for file in records(place).values():
            decide(file, engine="onnxruntime", feature_batch_size=8)
        shutil.rmtree(place / "features")
        assert weights(zoo.resume(run.path)) == before
        again = zoo.finetune(config=run.path / "config.yaml", cache=str(place), out=str(tmp_path / "again"))
        assert weights(again) == before
        assert again.resolved().config.machine.feature_batch_size == 16

    def test_it_is_written_before_it_is_used(self, tmp_path, monkeypatch):
        """A run that ends in the midst of its extraction goes on as it began."""

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("zoo.training.features.extraction.Extractor._compute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            zoo.finetune(**AUTO, out=str(tmp_path / "run"))
        settled = runs.open_run(tmp_path / "run").resolved().config.machine
        assert (settled.engine, settled.feature_batch_size) == ("torch", 16)

    def test_without_a_cache_it_is_decided_in_the_run_and_stands_in_its_config(self, tmp_path):
        run = zoo.finetune(**AUTO, cache="off", out=str(tmp_path / "run"))
        settled = run.resolved().config.machine
        assert (settled.engine, settled.feature_batch_size) == ("torch", 16)

    def test_whether_activations_are_kept_is_decided_once(self, tmp_path):
        place = tmp_path / "cache"
        first = zoo.finetune(**TINY, **WAYS["rows"], cache=str(place), out=str(tmp_path / "first"))
        assert first.resolved().config.data.keep_features == "always"
        (file,) = (path for path in place.glob("decisions/*/decision.json") if "keep_features" in path.read_text())
        decide(file, keep_features="never")
        again = zoo.finetune(**TINY, **WAYS["rows"], cache=str(place), out=str(tmp_path / "again"))
        assert again.resolved().config.data.keep_features == "never"
        assert "`zoo cache clear decisions`" in training(again)["way"]
