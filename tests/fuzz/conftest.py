"""How many inputs: a seeded sample by default; with ZOO_FUZZ_EXAMPLES (`make fuzz`) so many for each test, and others each time."""

import os

from hypothesis import HealthCheck, Phase, settings

asked = os.environ.get("ZOO_FUZZ_EXAMPLES")
settings.register_profile(
    "zoo",
    max_examples=int(asked or 40),
    derandomize=asked is None,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate),  # inputs are small; to make one smaller takes minutes
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("zoo")
