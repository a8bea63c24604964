"""`zoo doctor` names what is not whole, says what to do, and changes nothing."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

import zoo
from zoo import cache

TINY = {"backbone": "timm/test_resnet.r160_in1k", "weights": "random", "image_size": 32, "tensorboard": False, "num_workers": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    kept = {"augment": "none", "keep_features": "always", "cache": str(place / "cache")}
    zoo.finetune(**TINY, **kept, strategy="partial:1", epochs=1, out=str(place / "run"))
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(copytree(made, tmp_path / "place"))


def contents(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("what", ["run", "run/best", "cache"])
def test_what_is_whole(zoo_cli: Callable[..., Any], place: Path, what: str) -> None:
    before = contents(place)
    ran = zoo_cli("doctor", str(place / what), "--json")
    assert ran.status == 0
    assert ran.json["whole"]
    assert all(part["whole"] and not part["advice"] for part in ran.json["parts"])
    assert contents(place) == before


@pytest.mark.parametrize(
    ("file", "harm", "advice"),
    [
        ("run/config.yaml", lambda file: file.write_text("lr: 1"), "start a new run"),
        ("run/splits.json", lambda file: file.write_text(""), "start a new run"),
        ("run/splits.json", lambda file: file.write_bytes(b"\xff\x00"), "start a new run"),
        ("run/best/model.safetensors", flip, "zoo resume"),
        ("run/best/config.json", Path.unlink, "zoo resume"),
        ("run/result.json", lambda file: file.write_text("{"), "zoo resume"),
        ("run/metrics.jsonl", lambda file: file.write_text("{}\nx\n{}\n"), "zoo resume"),
    ],
)
def test_what_is_not(zoo_cli: Callable[..., Any], place: Path, file: str, harm: Callable[[Path], object], advice: str) -> None:
    harm(place / file)
    before = contents(place)
    ran = zoo_cli("doctor", str(place / "run"), "--json")
    assert ran.status == 1
    (bad, *more) = [part for part in ran.json["parts"] if not part["whole"]]
    assert {Path(file).name, "best"} & {Path(word.strip(":;,")).name for word in f"{bad['said']} {bad['part']}".split()}
    assert advice in bad["advice"]
    assert more == [] or file == "run/config.yaml"
    assert contents(place) == before


def test_each_checkpoint_is_looked_at(zoo_cli: Callable[..., Any], place: Path) -> None:
    folder = max((place / "run" / "checkpoints").iterdir())
    flip(folder / "model.safetensors")
    ran = zoo_cli("doctor", str(place / "run"), "--json")
    (bad,) = [part for part in ran.json["parts"] if not part["whole"]]
    assert bad["part"] == str(folder)
    assert "model.safetensors" in bad["said"]
    assert bad["advice"] == "`zoo resume` takes the newest that is whole"


def test_a_cache_names_its_damaged_files_and_keeps_them(zoo_cli: Callable[..., Any], place: Path) -> None:
    shard = next((place / "cache").rglob("*.npy"))
    flip(shard)
    ran = zoo_cli("doctor", str(place / "cache"), "--json")
    assert ran.status == 1
    assert ran.json["parts"][0]["part"] == str(shard)
    assert shard.exists()
    assert cache.verify(place / "cache") == [shard]
    assert zoo_cli("doctor", str(place / "cache")).status == 0


def test_a_run_that_was_broken_off_says_how_to_go_on(zoo_cli: Callable[..., Any], place: Path) -> None:
    (place / "run" / "result.json").unlink()
    ran = zoo_cli("doctor", str(place / "run"))
    assert ran.status == 0  # nothing is damaged
    assert "not finished: it stands at step" in ran.out
    assert f"go on with `zoo resume {place / 'run'}`" in ran.out


@pytest.mark.parametrize(("path", "said"), [("nowhere", "no such folder"), (".", "neither a run, nor a model, nor a cache")])
def test_anything_else_is_refused(zoo_cli: Callable[..., Any], path: str, said: str) -> None:
    Path("file.txt").write_text("x")
    assert f"{path}: {said}" in zoo_cli("doctor", path).refused()
