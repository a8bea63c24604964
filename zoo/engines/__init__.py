"""Fast forward passes of a frozen network on many samples: torch itself, or the network converted for another library.

    engine, line = choose(net, first_batch, name="auto", samples=3000, device=device, channels_last=True, precision="no",
                          folder=cache, batch_size=None)
    rows = engine(images)                                    # [b, 3, S, S] to [b, ...] float32, b <= engine.batch_size

OpenVINO and ONNX Runtime (the extra `zoo-finetune[cpu]`) run in processes of their own (`zoo.runtimes`): this one never imports them.
"""

from zoo.engines.catalogue import NAMES, among, installed, prepare
from zoo.engines.choice import choose
from zoo.engines.engine import TOLERANCE, Engine, agreement

__all__ = ["NAMES", "TOLERANCE", "Engine", "agreement", "among", "choose", "installed", "prepare"]
