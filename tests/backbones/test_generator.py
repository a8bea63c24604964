"""torch's global generators: who seeds them holds them."""

import os
import signal
import threading

import pytest
import torch

import zoo
from zoo import folders
from zoo.backbones import generator

OPTIONS = {
    "weights": "random",
    "strategy": "full",
    "image_size": 32,
    "augment": "light",
    "drop_path": 0.2,
    "batch_size": 100,
    "precision": "no",
    "device": "cpu",
    "epochs": 1,
    "tensorboard": False,
    "num_workers": 0,
}


def train(out):
    run = zoo.finetune("timm/test_vit.r160_in1k", **OPTIONS, out=str(out))
    return folders.sha256(run.best / "model.safetensors")


def test_it_is_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with generator.forked(1):
        drawn = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with generator.forked(1), generator.held():
        assert torch.equal(torch.rand(3), drawn)


def test_it_is_one_thread_s():
    entered = threading.Event()

    def seed():
        with generator.forked(3):
            entered.set()

    thread = threading.Thread(target=seed)
    with generator.held():
        thread.start()
        assert not entered.wait(0.2)
    thread.join(60)
    assert entered.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_that_was_forked_while_another_thread_held_it_does_not_wait():
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with generator.held():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert inside.wait(60)
        child = os.fork()
        if not child:
            signal.alarm(30)
            with generator.held():
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    finally:
        leave.set()
        thread.join()


def test_models_that_another_thread_loads_change_nothing_of_a_training(tmp_path):
    alone = train(tmp_path / "alone")
    done, loaded, failed = threading.Event(), [], []

    def load():
        try:
            while not done.is_set():
                loaded.append(zoo.load(tmp_path / "alone" / "best"))
                zoo.show("timm/test_vit.r160_in1k", strategy="lora:2")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        beside = train(tmp_path / "beside")
    finally:
        done.set()
        thread.join()
    assert not failed
    assert len(loaded) > 2
    assert beside == alone
