from __future__ import annotations

import pytest
from drawn import draw

from zoo.evaluation.outputs import Outputs


@pytest.fixture(params=[(40, 2), (200, 3), (500, 10)], ids=["two", "three", "ten"])
def outputs(request: pytest.FixtureRequest) -> Outputs:
    """Outputs of 2, 3 and 10 classes."""
    return Outputs.from_logits(*draw(*request.param))
