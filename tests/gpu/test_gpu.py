"""What only a GPU shows: its arithmetic, its memory, and that results agree with the CPU's."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import zoo
from zoo import backbones, registry
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.config import build, resolve
from zoo.data import open_splits
from zoo.engines.precision import full_float32
from zoo.evaluation import metrics
from zoo.training import assembly as jobs
from zoo.training import launch, optim
from zoo.training.collect import prepare
from zoo.training.features.extraction import Extractor
from zoo.training.launch import settle
from zoo.training.probe import sweep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and torch sees none")

TINY = {"backbone": "timm/test_resnet.r160_in1k", "weights": "random", "image_size": 32, "num_workers": 0, "tensorboard": False}
GPU = torch.device("cuda")


def finetune(tmp_path, name, **options):
    return zoo.finetune(**{**TINY, "cache": str(tmp_path / "cache"), "out": str(tmp_path / name), "epochs": 2, **options})


def environment(run):
    return json.loads((run.path / "training.json").read_text())["environment"]


def features(device, place, precision="no"):
    model = prepare(AdaptedModel.build(backbones.load(registry.resolve(TINY["backbone"]), "random", image_size=32), 10), device)
    config = build({"cache": str(place), "num_workers": 0})
    cut = boundary.cut(model)
    with (
        full_float32(),
        Extractor(cut.prefix, cut.where, model.backbone, config, device, precision=precision) as extractor,
    ):
        return extractor.rows(open_splits(config).train)[:]


@pytest.mark.parametrize("precision", ["auto", "no", "bf16", "fp16"])
@pytest.mark.parametrize("strategy", ["full", "lora:4", "partial:1"])
def test_each_precision_trains(tmp_path, precision, strategy):
    run = finetune(
        tmp_path, "run", strategy=strategy, precision=precision, lora_targets="layer4.*conv.*" if "lora" in strategy else None
    )
    lines = run.metrics()
    assert lines[-1]["train_loss"] < np.log(10)
    assert environment(run)["precision"] == ({"auto": "bf16"}.get(precision, precision))
    assert environment(run)["device"] == torch.cuda.get_device_name()


def test_auto_is_the_gpu_and_bf16_where_it_has_it():
    machine = settle(resolve([("flag", TINY)])).config.machine
    assert machine.device == "cuda"
    assert machine.precision == ("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no")


def test_what_is_made_for_a_gpu_is_used(tmp_path):
    config = settle(resolve([("flag", {**TINY, "strategy": "full"})])).config
    splits = open_splits(config)
    machine = launch.accelerator(config)
    model = prepare(jobs.build_model(config, splits), machine.device)
    job = jobs.make_job(config, splits, model, metrics.resolve("accuracy"), machine)
    assert model.backbone.net.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert optim.build_optimizer(model, config.optim).defaults["fused"]
    _, (batch, *_) = next(job.train.steps(0, 1))
    assert batch.inputs.is_pinned()
    assert next(iter(job.val)).inputs.is_pinned()


@pytest.mark.parametrize(("precision", "tolerance"), [("no", 1e-4), ("bf16", 5e-2), ("fp16", 1e-2)])
def test_features_are_those_of_the_cpu(tmp_path, precision, tolerance):
    ours, theirs = features(GPU, tmp_path / "gpu", precision), features(torch.device("cpu"), tmp_path / "cpu")
    apart = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    assert apart.max() < tolerance


def test_the_solver_finds_what_it_finds_on_the_cpu():
    found = load_digits()
    rows, targets = found.data.astype(np.float32), found.target
    for ours, theirs in zip(sweep.sweep(rows, targets, 10, device=GPU), sweep.sweep(rows, targets, 10), strict=True):
        assert ours.scaling == theirs.scaling
        assert ours.objective == pytest.approx(theirs.objective, abs=1e-4)


def test_a_probe_is_solved_and_shipped(tmp_path):
    run = finetune(tmp_path, "run", strategy="linear-probe")
    assert run.result()["reload_difference"] < 1e-4
    assert environment(run)["engine"] == "torch"
    again = finetune(tmp_path, "again", strategy="linear-probe")
    assert again.value == run.value


def test_a_compiled_step_learns_and_saves_under_the_same_names(tmp_path):
    # 64 pixels: of maps of one pixel, torch's compiler mistakes the memory format of gradients.
    options = {"strategy": "full", "precision": "no", "image_size": 64}
    plain, compiled = (finetune(tmp_path, f"run{on}", compile=on, **options) for on in (False, True))
    losses = [[line["train_loss"] for line in run.metrics()] for run in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    names = [set(zoo.load(run.best).state_dict()) for run in (plain, compiled)]
    assert names[0] == names[1]


def test_partial_training_takes_less_memory_than_full():
    peaks = {}
    for strategy in ("full", "partial:1"):
        model = prepare(
            AdaptedModel.build(backbones.load(registry.resolve("resnet50"), "random"), 10, strategy=strategy), GPU
        ).train()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        model(torch.zeros(16, 3, 224, 224, device=GPU).contiguous(memory_format=torch.channels_last)).sum().backward()
        peaks[strategy] = torch.cuda.max_memory_allocated() - before
        del model
    assert peaks["partial:1"] < 0.5 * peaks["full"]


def test_what_is_predicted_and_measured_is_what_the_cpu_says(tmp_path):
    run = finetune(tmp_path, "run", strategy="linear-probe", precision="no")
    files = []
    for number, image in enumerate(load_digits().images[:20]):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray((image * 15).astype(np.uint8)).save(files[-1])
    there, here = (zoo.predict(run.best, files, device=device) for device in ("cuda", "cpu"))
    for one, other in zip(there, here, strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    on_gpu, on_cpu = (zoo.evaluate(run.best, device=device).values for device in ("cuda", "cpu"))
    assert on_gpu["log_loss"].value == pytest.approx(on_cpu["log_loss"].value, abs=1e-4)
    assert next(zoo.load(run.best).model.parameters()).is_cuda
    written = zoo.predict_to(tmp_path / "out.csv", run.best, files, device="cuda")
    assert written.answered == 20
