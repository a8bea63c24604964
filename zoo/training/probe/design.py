"""Features as the solver sees them: scaled, centred and turned into their eigenbasis, without a scaled copy of them.

A scaling is a factor `r_i` for each row, a centre `m` and a factor `s_j` for each column: the scaled feature is
`z_ij = s_j (r_i x_ij - m_j)`. With the eigenvectors `V` of the second moments of z, a layer on `z V` is one on the raw features:
`fold = diag(s) V` turns its weight into that of `r_i x_i`. In this basis a diagonal bounds the curvature of every loss here
(Boehning 1992, doi.org/10.1007/BF00048682), whatever the strength of regularisation: one decomposition preconditions a whole sweep.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from zoo.errors import DataError

Scaling = Literal["centred", "standardised", "normalised"]
BLOCK_ELEMENTS = 1 << 20  # 4 MiB of float32: temporaries stay near the cache, and a product is large enough for every core
CONSTANT = 1e-6  # a column that varies by less, relative to its mean, varies by the rounding of float32
SMALLEST = 0.3
"""Least standard deviation of a column that is divided by its own, against the median: what varies less is not blown up to the size of
the others. It is often a feature that is off in nearly all of the samples, and many deviations away in another: with no such bound, the
test log-loss of 1 of 4 draws of 500 images of Fashion-MNIST was 47.8 (0.55 with it), and folds, which share the deviations, told too
much good of such columns (four labels of 400 digits: mean average precision 0.976, 0.981 with it; 0.6 harms other data)."""
TINIEST = 1e-30  # what varies by less is constant too: a weight that makes up for it would be beyond float32
COPY_RATIO = 8  # below 8 D rows, turning the layer at every step would add more than 1/8 to the products with the rows


class FeatureRows:
    """The feature matrix `[N, D]` in row blocks on a device. The host's memory is used in place: memory maps stay maps.

    On a GPU the whole matrix moves there once if it fits in half of the free memory, else block by block at every pass.
    `num_outputs`, of all layers that are evaluated at once, bounds the blocks too, as each has logits.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], num_outputs: int, device: torch.device) -> None:
        self.arrays, self.device = arrays, device
        self.count, self.width = sum(len(array) for array in arrays), int(arrays[0].shape[1])
        self.step = max(1, BLOCK_ELEMENTS // max(self.width, num_outputs))
        self.resident: list[tuple[slice, Tensor]] | None = None
        if device.type == "cuda" and self.count * self.width * 4 <= torch.cuda.mem_get_info(device)[0] // 2:
            self.resident = list(self)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Each block's place in the matrix, and the block, `[B, D] float32`, which is not to be written to."""
        if self.resident is not None:
            yield from self.resident
            return
        first = 0
        for array in self.arrays:
            for start in range(0, len(array), self.step):
                part = np.ascontiguousarray(array[start : start + self.step], dtype=np.float32)
                # Not from_numpy, which warns of arrays that cannot be written to, such as memory maps.
                yield slice(first + start, first + start + len(part)), from_dlpack(part).to(self.device)
            first += len(array)


@dataclass(frozen=True)
class Facts:
    """What two passes over the rows tell."""

    mean: Tensor
    """Of each column, `[D] float64`."""
    variance: Tensor
    """Of each column, `[D] float64`, divided by N."""
    norms: Tensor
    """L2 norm of each row, `[N] float32`."""

    @classmethod
    def of(cls, rows: FeatureRows) -> Facts:
        """Raises: DataError, naming the first row that is not finite or whose square is beyond float32."""
        total = torch.zeros(rows.width, dtype=torch.float64, device=rows.device)
        norms = torch.empty(rows.count, device=rows.device)
        for place, block in rows:
            norms[place] = torch.linalg.vector_norm(block, dim=1)
            total += block.sum(0, dtype=torch.float64)
        bad = torch.nonzero(~torch.isfinite(norms))
        if len(bad):
            raise DataError(
                f"features of row {int(bad[0])} (of {rows.count}) are not finite, or beyond 1e19: "
                "look at that input, or compute them in higher precision"
            )
        mean = total / rows.count
        squares = torch.zeros_like(total)
        for _, block in rows:
            squares += (block - mean.float()).double().square_().sum(0)
        return cls(mean, squares / rows.count, norms)

    def column_factors(self, scaling: Scaling) -> Tensor:
        """What each centred column is multiplied by, `[D] float32`; 0 for a constant one under `standardised`."""
        if scaling == "normalised":
            return torch.ones_like(self.mean, dtype=torch.float32)
        if scaling == "centred":
            spread = float(self.variance.mean().sqrt())
            return torch.full_like(self.mean, 1 / spread if spread > TINIEST else 0.0, dtype=torch.float32)
        deviation = self.variance.sqrt()
        varies = deviation > (CONSTANT * self.mean.abs()).clamp_min(TINIEST)
        typical = torch.quantile(deviation[varies], 0.5) if varies.any() else deviation.new_tensor(TINIEST)
        return torch.where(varies, 1 / torch.maximum(deviation, SMALLEST * typical), 0.0).float()


class Design:
    """The rows under one scaling, in the eigenbasis of their second moments (R wide), with a constant 1 for the bias.

    A layer in this basis is `[C, R + 1] float32`, its last column the bias. `curvature [R + 1] float32` holds the eigenvalues,
    rising, and 1 for the bias: the second derivative of `mean(output^2) / 2` along each coordinate. `weights [N] float32` are the
    rows' shares, of sum 1. R is D, or N where that is less: no layer outside the span of the rows has a lower objective.
    """

    def __init__(self, rows: FeatureRows, facts: Facts, scaling: Scaling, weights: Tensor) -> None:
        self.rows = rows
        # By the root mean square, which is the L2 norm / sqrt(D): then a strength means the same under every scaling.
        root = rows.width**0.5
        self.row_factors = root / facts.norms.clamp_min(1e-30) if scaling == "normalised" else None
        self.mean_factor = root / max(float(facts.norms.mean()), 1e-30) if scaling == "normalised" else 1.0
        self.columns = facts.column_factors(scaling)
        self.centre = self._mean(weights)
        span = self._span() if rows.count < rows.width else None
        values, vectors = eigenvectors(self._moments(weights, span))
        self.fold = self.columns[:, None] * (vectors if span is None else span @ vectors)
        self.curvature = torch.cat([values.clamp_min(0), values.new_ones(1)])
        self.turned: Tensor | None = None
        self.copy()

    def _centred(self, place: slice, block: Tensor) -> Tensor:
        """`r_i x_i - m` of a block."""
        return (block if self.row_factors is None else block * self.row_factors[place, None]) - self.centre

    def _mean(self, weights: Tensor) -> Tensor:
        """`[D] float32`: weighted, so that weight and bias are uncoupled to first order."""
        total = torch.zeros(self.rows.width, dtype=torch.float64, device=self.rows.device)
        factors = weights if self.row_factors is None else weights * self.row_factors
        for place, block in self.rows:
            total += factors[place] @ block
        return total.float()

    def _span(self) -> Tensor:
        """An orthonormal basis `[D, N]` of the scaled rows."""
        scaled = torch.cat([self._centred(place, block).mul_(self.columns) for place, block in self.rows])
        basis: Tensor = torch.linalg.qr(scaled.T).Q
        return basis

    def _moments(self, weights: Tensor, span: Tensor | None) -> Tensor:
        """Weighted second moments of the scaled rows, in the basis `span` if given, `[R, R] float64`: float32 within a block."""
        width = self.rows.width if span is None else span.shape[1]
        total = torch.zeros(width, width, dtype=torch.float64, device=self.rows.device)
        for place, block in self.rows:
            scaled = self._centred(place, block).mul_(self.columns)
            scaled = (scaled if span is None else scaled @ span).mul_(weights[place, None].sqrt())
            total += scaled.T @ scaled
        return total

    def _turn(self) -> Tensor:
        """The rows in the eigenbasis, `[N, R] float32`."""
        turned = torch.empty(self.rows.count, self.fold.shape[1], device=self.rows.device)
        for place, block in self.rows:
            torch.mm(self._centred(place, block), self.fold, out=turned[place])
        return turned

    def raw(self, layer: Tensor) -> tuple[Tensor, Tensor]:
        """Weight `[C, D]` and bias `[C]` on `r_i x_i`."""
        weight = layer[:, :-1] @ self.fold.T
        return weight, layer[:, -1] - weight @ self.centre

    def folded(self, layer: Tensor) -> tuple[Tensor, Tensor]:
        """Weight `[C, D]` and bias `[C]` on `x_i`, each `r_i` replaced by that of the mean norm."""
        weight, bias = self.raw(layer)
        return weight * self.mean_factor, bias

    def differentiate(self, layers: Tensor, loss: Callable[[slice, Tensor], Tensor]) -> Tensor:
        """The gradients `[A, C, R + 1]` of a loss of the outputs of layers `[A, C, R + 1]`, by one pass over the rows.

        For each block, `loss` is called with its place and its outputs `[A, C, B]`, and returns the losses' derivatives by them.
        """
        flat = layers.flatten(0, 1)
        weight, bias = (flat[:, :-1].contiguous(), flat[:, -1]) if self.turned is not None else self.raw(flat)
        by_weight, by_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for place, block in self._blocks():
            factors = None if self.turned is not None or self.row_factors is None else self.row_factors[place]
            outputs = weight @ block.T
            outputs = (outputs if factors is None else outputs.mul_(factors)).add_(bias[:, None])
            derivatives = loss(place, outputs.view(*layers.shape[:2], -1)).flatten(0, 1)
            by_bias += derivatives.sum(1)
            by_weight.addmm_(derivatives if factors is None else derivatives * factors, block)
        if self.turned is None:
            by_weight = by_weight.sub_(torch.outer(by_bias, self.centre)) @ self.fold
        return torch.cat([by_weight, by_bias[:, None]], 1).view_as(layers)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of the turned rows if there is a copy of them, else of the raw ones."""
        if self.turned is None:
            yield from self.rows
            return
        for start in range(0, self.rows.count, self.rows.step):
            place = slice(start, min(start + self.rows.step, self.rows.count))
            yield place, self.turned[place]

    def copy(self) -> None:
        """Have the rows in the eigenbasis where that pays; else each step turns the layer instead."""
        if self.turned is None and self.rows.count < COPY_RATIO * self.rows.width:
            self.turned = self._turn()

    def release(self) -> None:
        """Let go of that copy, so that there is memory for the next design's."""
        self.turned = None


def eigenvectors(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues `[R] float32`, rising, and eigenvectors `[R, R] float32`, in columns, of moments in float64. Raises: DataError.

    In float32, as that takes half the time; but there LAPACK's algorithm does not converge on some moments of deficient rank, whose
    smallest eigenvalues are all rounding: these are decomposed in float64.
    """
    for matrix in (moments.float(), moments):
        with contextlib.suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]  # documented, and not in its __all__
            values, vectors = torch.linalg.eigh(matrix)
            if values.isfinite().all() and vectors.isfinite().all():
                return values.float(), vectors.float()
    raise DataError("the head cannot be solved on these features, their moments have no eigenvectors; add --head-fit stepped")
