"""Fixtures of the tests of adaptation: the small backbones, and models made of them."""

import dataclasses
from collections.abc import Callable

import pytest
from adapting import LABELS
from tiny import BY_FAMILY

from zoo import backbones
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone


@pytest.fixture
def tiny() -> Callable[..., Backbone]:
    def load(family: str, **arguments: object) -> Backbone:
        spec = BY_FAMILY[family]
        return backbones.load(dataclasses.replace(spec, arguments={**spec.arguments, **arguments}), "random", seed=8)

    return load


@pytest.fixture
def adapted(tiny: Callable[..., Backbone]) -> Callable[..., AdaptedModel]:
    def build(family: str, strategy: str, **options: object) -> AdaptedModel:
        return AdaptedModel.build(tiny(family), len(LABELS), strategy=strategy, labels=LABELS, seed=1, **options)

    return build
