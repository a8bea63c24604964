"""Fine-tune a named pretrained backbone on your own images, texts or audio clips, and publish it with a true model card.

    >>> import zoo
    >>> run = zoo.finetune("resnet50", data="photos/", strategy="lora:16")  # doctest: +SKIP
    >>> zoo.load(run.best).predict(["cat.jpg"])  # doctest: +SKIP

Everything below is imported when it is first used: `import zoo` costs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.adaptation.model import AdaptedModel
    from zoo.api import evaluate, finetune, inspect, list_runs, load, predict, predict_to, publish, resume, show
    from zoo.errors import (
        AuditFailed,
        CheckpointError,
        ConfigError,
        DataError,
        NonFinite,
        OutputError,
        RunFailed,
        UnknownName,
        WeightsError,
        ZooError,
    )
    from zoo.evaluation import metrics
    from zoo.registry import (
        register_backbone,
        register_batch_sampler,
        register_collate,
        register_head,
        register_sampler,
        register_worker_init,
    )

    __version__: str

_HOMES = {
    "AdaptedModel": "zoo.adaptation.model",
    "AuditFailed": "zoo.errors",
    "CheckpointError": "zoo.errors",
    "ConfigError": "zoo.errors",
    "DataError": "zoo.errors",
    "NonFinite": "zoo.errors",
    "OutputError": "zoo.errors",
    "RunFailed": "zoo.errors",
    "UnknownName": "zoo.errors",
    "WeightsError": "zoo.errors",
    "ZooError": "zoo.errors",
    "evaluate": "zoo.api",
    "finetune": "zoo.api",
    "inspect": "zoo.api",
    "list_runs": "zoo.api",
    "load": "zoo.api",
    "metrics": "zoo.evaluation",
    "predict": "zoo.api",
    "predict_to": "zoo.api",
    "publish": "zoo.api",
    "register_backbone": "zoo.registry",
    "register_batch_sampler": "zoo.registry",
    "register_collate": "zoo.registry",
    "register_head": "zoo.registry",
    "register_sampler": "zoo.registry",
    "register_worker_init": "zoo.registry",
    "resume": "zoo.api",
    "show": "zoo.api",
}
"""The module that defines each public name."""

__all__ = [
    "AdaptedModel",
    "AuditFailed",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "NonFinite",
    "OutputError",
    "RunFailed",
    "UnknownName",
    "WeightsError",
    "ZooError",
    "__version__",
    "evaluate",
    "finetune",
    "inspect",
    "list_runs",
    "load",
    "metrics",
    "predict",
    "predict_to",
    "publish",
    "register_backbone",
    "register_batch_sampler",
    "register_collate",
    "register_head",
    "register_sampler",
    "register_worker_init",
    "resume",
    "show",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("zoo-finetune")
    elif name in _HOMES:
        from importlib import import_module

        home = import_module(_HOMES[name])
        value = import_module(f"{_HOMES[name]}.{name}") if name == "metrics" else getattr(home, name)
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
