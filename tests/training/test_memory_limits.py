"""A step that does not fit into memory is made in smaller micro-batches: the same result, in one line, and exactly so after a resume."""

import logging
import subprocess
import sys

import pytest
import torch
from test_loop import job_and_run

from zoo import runs
from zoo.data.loading.loaders import Batch
from zoo.errors import RunFailed, ran_out_of_memory
from zoo.training import checkpoint, loop
from zoo.training.memory_limits import split
from zoo.training.trackers import Trackers

OPTIONS = {"backbone": "timm/test_vit.r160_in1k", "strategy": "full", "head_start": "random", "epochs": 0.2}
ERRORS = {
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "python": MemoryError(),
}


def limited(job, most, error=ERRORS["cpu"]):
    """Memory for so many samples of a micro-batch that is trained."""

    def check(module, inputs):
        if module.training and torch.is_grad_enabled() and len(inputs[0]) > most:
            raise error

    job.model.head.register_forward_pre_hook(check)  # when the backbone has run


def trained(tmp_path, name, most=None, error=ERRORS["cpu"], told=(), **options):
    (tmp_path / name).mkdir(exist_ok=True)
    job, run, machine = job_and_run(tmp_path / name, **{**OPTIONS, **options})
    if most is not None:
        limited(job, most, error)
    state = loop.train(job, run, machine, Trackers(told))
    return job, run, state


@pytest.mark.parametrize("error", ERRORS)
def test_the_result_is_that_of_whole_steps(tmp_path, caplog, error):
    caplog.set_level(logging.WARNING)
    job, _, state = trained(tmp_path, "small", 8, ERRORS[error])
    assert state.split == 4
    lines = [record.message for record in caplog.records if "memory ran out" in record.message]
    assert lines == [
        "memory ran out with micro-batches of 32 samples: it goes on with 16 (--accumulate 2 asks for that from the start)",
        "memory ran out with micro-batches of 16 samples: it goes on with 8 (--accumulate 4 asks for that from the start)",
    ]
    whole, _, _ = trained(tmp_path, "whole")
    for name, tensor in whole.model.trained_state().items():
        torch.testing.assert_close(
            job.model.trained_state()[name], tensor, rtol=1e-3, atol=1e-4
        )  # Adam divides by what may be rounding
    asked, _, _ = trained(tmp_path, "asked", accumulate=4)
    assert all(torch.equal(job.model.trained_state()[name], one) for name, one in asked.model.trained_state().items())


def test_what_was_found_is_in_the_checkpoint_and_a_resumed_run_has_the_same_bytes(tmp_path):
    whole, run, _ = trained(tmp_path, "whole", 16, checkpoint_every=3)
    expected = checkpoint.newest(run.checkpoints, whole.identity, say=False)

    class Broken:
        def step(self, step, values):
            if step == 5:
                raise KeyboardInterrupt

        def evaluation(self, step, record):
            pass

        def close(self):
            pass

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "broken", 16, told=[Broken()], checkpoint_every=3)
    found = checkpoint.newest(tmp_path / "broken" / "run" / "checkpoints", whole.identity, say=False)
    assert (found.state.step, found.state.split) == (3, 2)
    run = runs.open_run(tmp_path / "broken" / "run")
    job, _, machine = job_and_run(tmp_path / "other", **OPTIONS, checkpoint_every=3)
    limited(job, 16)
    loop.train(job, run, machine, Trackers())
    again = checkpoint.newest(run.checkpoints, whole.identity, say=False)
    assert again.state.step == expected.state.step
    assert all(torch.equal(again.model[name], tensor) for name, tensor in expected.model.items())


def test_nothing_is_left_of_a_step_of_which_a_part_did_not_fit(tmp_path):
    job, run, machine = job_and_run(tmp_path / "half", **OPTIONS, accumulate=2)
    made = []

    def check(module, inputs):
        made.append(len(inputs[0]))
        if made == [16, 16]:  # the gradient of the first is there already
            raise ERRORS["cpu"]

    job.model.train().head.register_forward_pre_hook(lambda *given: check(*given) if torch.is_grad_enabled() else None)
    loop.train(job, run, machine, Trackers())
    asked, _, _ = trained(tmp_path, "asked", accumulate=4)
    assert all(torch.equal(job.model.trained_state()[name], one) for name, one in asked.model.trained_state().items())


def test_what_does_not_fit_by_one_ends_with_advice(tmp_path):
    with pytest.raises(
        RunFailed,
        match=r"memory ran out with micro-batches of 1 sample \(.*can't allocate memory.*\); use --gradient-checkpointing",
    ):
        trained(tmp_path, "run", 0)


def test_live_batch_norm_keeps_two_samples_and_its_statistics(tmp_path, caplog):
    options = {"backbone": "timm/test_resnet.r160_in1k", "batch_norm": "live"}
    job, _, _ = trained(tmp_path, "small", 16, **options)
    assert "whose batch norm takes its statistics from each, so that the result is another" in caplog.text
    asked, _, _ = trained(tmp_path, "asked", accumulate=2, **options)
    for name, tensor in asked.model.trained_state().items():  # nothing is left of the step that failed
        assert torch.equal(job.model.trained_state()[name], tensor), name
    with pytest.raises(RunFailed, match="memory ran out with micro-batches of 2 samples"):
        trained(tmp_path, "two", 1, **options)


def test_what_else_goes_wrong_is_raised(tmp_path):
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        trained(tmp_path, "run", 8, RuntimeError("shapes do not fit"))


def test_parts_are_in_order_and_whole():
    batch = Batch(torch.arange(20).view(10, 2), torch.arange(10), torch.ones(10), torch.arange(10))
    for parts in (1, 2, 4, 16):
        found = split([batch, batch], parts)
        assert len(found) == 2 * min(parts, 10)
        assert torch.cat([one.indices for one in found]).tolist() == [*range(10), *range(10)]
        assert torch.equal(torch.cat([one.inputs for one in found]), torch.cat([batch.inputs] * 2))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on addresses is Linux's")
def test_the_real_allocator_says_what_is_looked_for():
    code = (
        "import torch, resource, sys\n"
        "from zoo.errors import ran_out_of_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))\n"
        "try:\n    torch.ones(8 << 30)\nexcept Exception as error:\n    print(ran_out_of_memory(error))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
    assert not ran_out_of_memory(RuntimeError("shapes do not fit"))
