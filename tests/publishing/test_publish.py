"""Publishing into folders, and onto a stand-in for the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import Hub
from written import publishable

from zoo import folders
from zoo.errors import CheckpointError, ConfigError, OutputError
from zoo.publishing.uploading import publish


@pytest.fixture
def best(tmp_path):
    return publishable(tmp_path)


@pytest.fixture
def other(tmp_path):
    return publishable(tmp_path, "other", seconds=99.0)


class TestFolder:
    def test_a_new_one_holds_the_same_bytes(self, best):
        assert publish(best, "./out/model") == "out/model"
        assert folders.verify(Path("out/model")) == folders.verify(best)

    def test_publishing_again_changes_nothing(self, best):
        publish(best, "./model")
        before = Path("model/README.md").stat().st_mtime_ns
        assert publish(best, "./model") == "model"
        assert Path("model/README.md").stat().st_mtime_ns == before

    def test_what_differs_is_replaced_only_by_force(self, best, other):
        publish(best, "./model")
        with pytest.raises(OutputError, match=r"README.md.*--force"):
            publish(other, "./model")
        assert Path("model/README.md").read_bytes() == (best / "README.md").read_bytes()
        publish(other, "./model", force=True)
        assert Path("model/README.md").read_bytes() == (other / "README.md").read_bytes()

    def test_a_folder_of_something_else_is_left_alone(self, best):
        Path("mine").mkdir()
        Path("mine/thesis.tex").write_text("years of work")
        with pytest.raises(OutputError, match="^mine exists and is not a published model; name another folder$"):
            publish(best, "./mine")
        with pytest.raises(OutputError, match="not a published model"):
            publish(best, "./mine", force=True)
        assert Path("mine/thesis.tex").read_text() == "years of work"

    def test_a_damaged_or_unfinished_folder_is_not_published(self, best):
        manifest = (best / "manifest.json").read_text()
        (best / "manifest.json").write_text("{}")
        with pytest.raises(CheckpointError, match="not a manifest"):
            publish(best, "./model")
        entries = json.loads(manifest)
        (best / "manifest.json").write_text(json.dumps({name: entries[name] for name in entries if name != "model.safetensors"}))
        with pytest.raises(CheckpointError, match=r"does not list model\.safetensors"):
            publish(best, "./model")
        assert not Path("model").exists()
        (best / "manifest.json").write_text(manifest)
        (best / "model.safetensors").write_bytes(b"x")
        with pytest.raises(CheckpointError, match="damaged"):
            publish(best, "./model")
        (best / "README.md").unlink()
        with pytest.raises(CheckpointError, match="zoo resume"):
            publish(best, "./model")
        with pytest.raises(CheckpointError, match="no such folder"):
            publish(Path("nowhere"), "./model")

    def test_a_card_that_was_edited_is_published_by_force(self, best):
        card = best / "README.md"
        edited = card.read_text() + "\nNot for medical use.\n"
        card.write_text(edited)
        manifest = (best / "manifest.json").read_bytes()
        with pytest.raises(CheckpointError, match=r"README\.md: changed since it was written; publish it as it is with --force"):
            publish(best, "./model")
        assert (best / "manifest.json").read_bytes() == manifest
        publish(best, "./model", force=True)
        assert Path("model/README.md").read_text() == edited
        assert publish(best, "./model") == "model"
        assert folders.verify(Path("model")) == folders.verify(best)

    def test_a_figure_that_was_edited_is_published_by_force_too(self, best):
        figure = min((best / "figures").iterdir())
        figure.write_bytes(b"drawn anew")
        with pytest.raises(CheckpointError) as caught:
            publish(best, "./model")
        assert str(caught.value) == (
            f"{figure}: changed since it was written; publish it as it is with --force, or use another copy of the folder"
        )
        publish(best, "./model", force=True)
        assert (Path("model/figures") / figure.name).read_bytes() == b"drawn anew"
        assert folders.verify(Path("model")) == folders.verify(best)
        figure.unlink()
        with pytest.raises(CheckpointError, match="missing; use another copy"):
            publish(best, "./model", force=True)

    def test_of_a_folder_that_is_not_ours_nothing_is_looked_into(self, best):
        """Such as `/`."""
        looked, watching = [], True

        def hear(event, arguments):
            if watching and event in ("os.scandir", "os.listdir"):
                looked.append(str(arguments[0]))

        sys.addaudithook(hear)
        for force in (False, True):
            with pytest.raises(OutputError, match="^/ exists and is not a published model; name another folder$"):
                publish(best, "/", force=force)
        publish(best, "./model")
        Path("model/theirs/deep").mkdir(parents=True)
        with pytest.raises(OutputError, match=r"^model exists and differs \(theirs\)"):
            publish(best, "./model")
        watching = False
        assert "model" in looked
        assert not [path for path in looked if path in ("/", "/usr", "/proc") or path.startswith(("/usr/", "/proc/"))]
        assert not [path for path in looked if "deep" in path]

    @pytest.mark.parametrize(("card", "said"), [(b"mine", "license is None"), (b"\xff", "not a text in UTF-8")])
    def test_a_card_that_the_hub_would_not_take_is_not_published_by_force(self, best, card, said):
        (best / "README.md").write_bytes(card)
        with pytest.raises(CheckpointError, match=said):
            publish(best, "./model", force=True)
        assert not Path("model").exists()


class TestHub:
    def run(self, hub, *words, **environment):
        """`zoo publish` in a process of its own: the Hub's client reads its settings when it is imported."""
        settings = {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_secret", **environment}
        command = [sys.executable, "-m", "zoo", "publish", *map(str, words)]
        return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=120)

    def test_the_whole_way(self, best, other):
        hub = Hub()
        first = self.run(hub, best, "--to", "me/pets")
        assert first.returncode == 0, first.stderr
        assert f"{hub.address}/me/pets" in first.stdout
        assert hub.private == {"me/pets"}
        assert hub.commits == {"me/pets": 1}
        assert hub.tokens == {"Bearer hf_secret"}
        names = {path.relative_to(best).as_posix() for path in best.rglob("*") if path.is_file()}
        assert hub.repositories["me/pets"] == {name: (best / name).read_bytes() for name in names}

        refused = self.run(hub, other, "--to", "me/pets")
        assert refused.returncode == 2
        assert "another README.md" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert hub.repositories["me/pets"]["README.md"] == (best / "README.md").read_bytes()

        forced = self.run(hub, other, "--to", "me/pets", "--force")
        assert forced.returncode == 0, forced.stderr
        assert hub.commits == {"me/pets": 2}
        assert hub.repositories["me/pets"]["README.md"] == (other / "README.md").read_bytes()
        for place in (first.stdout, first.stderr, refused.stderr, forced.stdout, forced.stderr, *hub.messages):
            assert "hf_secret" not in place
        assert all(b"hf_secret" not in data for data in hub.repositories["me/pets"].values())

    def test_offline(self, best):
        hub = Hub()
        said = self.run(hub, best, "--to", "me/pets", HF_HUB_OFFLINE="1")
        assert said.returncode == 2
        assert "HF_HUB_OFFLINE forbids to ask the Hub; publish to a folder" in said.stderr
        assert hub.asked == []

    def test_nobody_is_logged_in(self, best):
        with pytest.raises(ConfigError, match="hf auth login"):
            publish(best, "me/pets")

    @pytest.mark.parametrize("to", ["pets", "a/b/c", "a b/c", ""])
    def test_what_is_neither_a_folder_nor_a_repository(self, best, to):
        with pytest.raises(ConfigError, match="OWNER/NAME"):
            publish(best, to)
