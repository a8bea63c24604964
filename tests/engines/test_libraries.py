"""The optional libraries: absent, imported late, silent, and reporting to nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import pictures, prepared, small

from zoo import engines
from zoo.errors import ConfigError


@pytest.mark.parametrize(("name", "module"), [("openvino", "openvino"), ("onnxruntime", "onnxscript")])
def test_a_library_that_is_not_installed(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.installed() == list(engines.NAMES)
    monkeypatch.setitem(sys.modules, module, None)
    assert engines.installed() == [other for other in engines.NAMES if other != name]
    with pytest.raises(ConfigError) as caught:
        prepared(name, small(), pictures(2))
    assert str(caught.value) == f"the engine {name} needs {module}, not installed here: pip install 'zoo-finetune[cpu]'"


SCRIPT = """
import sys
from zoo import engines
heavy = ("openvino", "onnxruntime", "onnx", "onnxscript")
assert not [name for name in heavy if name in sys.modules]
from running import small, pictures, prepared
engines.installed()
assert not [name for name in heavy if name in sys.modules]
images = pictures(2)
for name in ("openvino", "onnxruntime"):
    prepared(name, small(), images)(images)
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""


def test_libraries_come_late_say_nothing_and_leave_no_trace(tmp_path: Path) -> None:
    """Both write an identifier into the home and report home when they are just imported and started; not where CI is set."""
    home = tmp_path / "own home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "ORT_DISABLE_TELEMETRY")}
    path = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
    environment = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONPATH": path}
    answer = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []
