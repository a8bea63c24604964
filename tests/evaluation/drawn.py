"""Outputs to measure: seeded, with classes of different sizes, and good enough to be right often."""

from __future__ import annotations

import numpy as np


def draw(samples: int, classes: int, seed: int = 0, strength: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """(targets, logits); every class occurs, the first ones more often."""
    generator = np.random.default_rng(seed)
    shares = np.arange(classes, 0, -1) / np.arange(classes, 0, -1).sum()
    targets = np.concatenate([np.arange(classes), generator.choice(classes, samples - classes, p=shares)])
    logits = generator.normal(size=(samples, classes))
    logits[np.arange(samples), targets] += strength
    return targets, logits


def draw_labels(samples: int, labels: int, seed: int = 0, strength: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """(targets `[N, C]` of 0 and 1, logits `[N, C]`); every label holds for some samples and not for all."""
    generator = np.random.default_rng(seed)
    targets = (generator.uniform(size=(samples, labels)) < np.linspace(0.5, 0.15, labels)).astype(np.int64)
    targets[0], targets[1] = 1, 0
    return targets, generator.normal(size=(samples, labels)) + strength * (targets - 0.5)


def draw_values(samples: int, values: int, seed: int = 0, strength: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """(targets `[N, K]`, predictions `[N, K]`) around different means; the noise is `1 / strength`."""
    generator = np.random.default_rng(seed)
    targets = generator.normal(size=(samples, values)) + 10 * np.arange(values)
    return targets, targets + generator.normal(size=(samples, values)) / strength
