"""What README.md states of the digits: accuracy, wall time and peak memory of whole commands, each in a process of its own.

    .venv/bin/python benchmarks/digits.py            # prints the table; several minutes on two cores

The test pictures are looked at once a run, by the run itself, after the best model has been chosen on others.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "linear probe, 128 px": ["--freeze", "backbone", "--image-size", "128"],
    "linear probe, 128 px, fp32": ["--freeze", "backbone", "--image-size", "128", "--precision", "no"],
    "full, 64 px": ["--strategy", "full", "--image-size", "64"],
}


def main() -> None:
    """Run each command once and print a row for it."""
    print("| run | test accuracy | 95 % interval | seconds | peak memory (GB, the largest process so far) |")
    print("|---|---|---|---|---|")
    for title, flags in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "zoo",
                "finetune",
                "tf_efficientnet_lite0",
                *flags,
                "--json",
                "--out",
                str(Path(folder) / "run"),
                "--cache",
                str(Path(folder) / "cache"),
            ]
            began = time.perf_counter()
            finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            seconds = time.perf_counter() - began
        answer = json.loads(finished.stdout.splitlines()[-1])
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        print(
            f"| {title} | {answer['value']:.4f} | {answer['low']:.4f} to {answer['high']:.4f} | {seconds:.0f} | {memory:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
