"""`zoo cache` and `zoo bench`, as they are typed."""

import numpy as np
import pytest

from zoo import cache
from zoo.cache import KEY, Space


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache with features of three images, found by the environment."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    facts = {"backbone": "resnet18.a1_in1k", "what": "pooled features", "engine": "torch", "precision": "no"}
    path = cache.folder(tmp_path / "cache", "features", facts)
    Space(path, (512,), "<f4").append(np.array([f"{number:064d}" for number in range(3)], KEY), np.zeros((3, 512), np.float32))
    return path


def test_info_and_list(zoo_cli, place):
    ran = zoo_cli("cache", "info", "--json")
    assert ran.json["folder"] == str(place.parent.parent)
    assert [(kind["kind"], kind["entries"], kind["rows"]) for kind in ran.json["kinds"]] == [("features", 1, 3)]
    assert ran.json["bytes"] == ran.json["kinds"][0]["bytes"] > 3 * 512 * 4
    ran = zoo_cli("cache", "list")
    assert "resnet18.a1_in1k pooled features torch no" in ran.out
    assert zoo_cli("cache", "list", "--json").json["entries"][0]["facts"]["engine"] == "torch"


def test_verify_removes_what_is_damaged(zoo_cli, place):
    assert zoo_cli("cache", "verify").out == "0 files were damaged\n"
    (shard,) = place.glob("*.npy")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"\x01")
    assert zoo_cli("cache", "verify", "--json").json == {"damaged": [str(shard)]}
    assert not shard.exists()


def test_clear(zoo_cli, place):
    assert zoo_cli("cache", "clear", "--older-than", "1").out == "removed 0 entries, 0.0 MB\n"
    assert "nothing of the kind 'images'; there is: features" in zoo_cli("cache", "clear", "images").refused()
    assert len(zoo_cli("cache", "clear", "features", "--json").json["removed"]) == 1
    assert not place.exists()
    assert "it is empty" in zoo_cli("cache", "info").out
    assert "cache is off; name its folder" in zoo_cli("cache", "info", "--cache", "off").refused()


def test_bench_measures_each_part(zoo_cli):
    words = "bench timm/test_resnet.r160_in1k --weights random --image-size 32 --num-workers 0 --engine torch --json"
    ran = zoo_cli(*words.split())
    assert ran.status == 0
    parts = {part["part"]: part for part in ran.json["parts"]}
    assert set(parts) == {
        "decode, one process",
        "resize and vary (none), one process",
        "read in batches, 0 workers",
        "forward, torch",
        "forward and backward of everything",
        "solve the head, all candidates",
    }
    for part in parts.values():
        assert part["samples_per_second"] == pytest.approx(1000 / part["milliseconds"])
    forward = parts["forward, torch"]
    assert forward["gflops"] == pytest.approx(ran.json["gflop_per_sample"] * forward["samples_per_second"])
    assert forward["of_peak"] == pytest.approx(forward["gflops"] / ran.json["matmul_gflops"])
    assert ran.json["memory_gb_per_second"] > 0.1


def test_bench_counts_the_operations_of_a_known_network(zoo_cli):
    """ResNet-18 takes 1.82 billion multiply-adds an image of 224 pixels (He et al. 2016, table 1: 1.8), twice as many operations."""
    words = "bench resnet18 --weights random --num-workers 0 --batch-size 2 --engine torch --json"
    assert zoo_cli(*words.split()).json["gflop_per_sample"] == pytest.approx(2 * 1.82, rel=0.01)


def test_bench_refuses_what_it_cannot_measure(zoo_cli):
    assert "torchh" in zoo_cli("bench", "--engine", "torchh").refused()
    assert "resnet5" in zoo_cli("bench", "resnet5").refused()
