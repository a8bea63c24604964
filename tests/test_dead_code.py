"""No function, class or variable of zoo that neither zoo nor a test uses."""

from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parent.parent
CALLED = {
    "__dir__": "Python", "__getattr__": "Python",
    "HEAD": "zoo.plugins, by name", "OPTIMIZER": "zoo.plugins, by name", "AUGMENTATION": "zoo.plugins, by name",
    "TRACKER": "zoo.plugins, by name", "SOURCE": "zoo.data.sources, by name",
    "Full": "zoo.strategy, as a subclass", "LpFt": "zoo.strategy, as a subclass",
    "list_heads": "zoo.cli, by name", "list_strategies": "zoo.cli, by name", "list_metrics": "zoo.cli, by name",
    "list_entries": "cyclopts", "completion": "cyclopts", "env": "cyclopts",
    "loss_function": "transformers", "torch_multi_head_self_attention": "transformers", "__class__": "Python",
    "max_depth": "ruamel.yaml", "default_flow_style": "ruamel.yaml", "default_style": "ruamel.yaml",
    "seekable": "soundfile", "_info": "evaluate", "use_load_libtiff": "Pillow", "forward_sync_buffers": "torch",
    "intra_op_num_threads": "onnxruntime", "inter_op_num_threads": "onnxruntime", "log_severity_level": "onnxruntime",
    "samples_per_second": "asdict", "gflops": "asdict", "of_peak": "asdict", "tokenizer_sha256": "asdict",
    "pretraining": "adapters/*.yaml", "trained_parameters": "README.md", "confident_joint": "tests",
}  # fmt: skip
"""What others call, and who."""


def test_everything_is_used() -> None:
    reader = Vulture()
    reader.scavenge(
        [str(ROOT / name) for name in ("zoo", "tests", "benchmarks", "recipes")], exclude=["*/zoo/keywords.py", "*/.venv*"]
    )
    unused = [one for one in reader.get_unused_code(min_confidence=60) if ROOT / "zoo" in Path(one.filename).parents]
    assert [f"{one.filename}:{one.first_lineno}: {one.name}" for one in unused if one.name not in CALLED] == []
