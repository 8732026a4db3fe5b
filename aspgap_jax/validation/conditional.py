"""Does the prediction know [alpha/M], or only the labels that go with it?

Gavel et al. (2021) found that [alpha/M] from XP spectra was a remapping of the other labels.
Both tests here ask whether the prediction p of a label still follows its true value a where
the conditions z (Teff, log g, [M/H], and whatever else is suspected) are the same:

- :func:`conditional_permutation`: partial correlation of a and p within small groups of stars
  of like z, against permutations of p within the groups;
- :func:`matched_pair_test`: pairs of stars of equal z and different a: which has the higher p?

Both first remove from a and from p what is left of z (Freedman & Lane 1983): a smooth function
over all stars and a plane within a group, or a plane over pairs. z is measured:
what the spectrum says of z beyond the errors of the reference counts as information, and so
does all that goes with a at fixed z and is not among the conditions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from aspgap_jax.errors import InputError, TooFewStars
from aspgap_jax.validation.bootstrap import Interval, bootstrap

__all__ = [
    "PairTest",
    "PermutationTest",
    "conditional_permutation",
    "matched_pair_test",
    "matched_pairs",
    "neighbourhoods",
    "quadratic",
]

Conditions = Float[np.ndarray, "star condition"]
FEATURES = 200
STARS_A_FEATURE = 20
PARTNERS = 60
"""Partners are sought within groups of so many stars at least."""

PerStar = Float[np.ndarray, " star"]


class PermutationTest(NamedTuple):
    """Result of :func:`conditional_permutation`.

    Attributes:
        correlation: partial correlation of truth and prediction at fixed conditions.
        slope: change of the prediction per change of the truth at fixed conditions.
        chance: the 95th percentile of the absolute correlation of permuted predictions.
        p_value: share of permutations, the data among them, with as large a one.
        n_stars: stars used.
        n_groups: groups of like stars.
    """

    correlation: float
    slope: float
    chance: float
    p_value: float
    n_stars: int
    n_groups: int


class PairTest(NamedTuple):
    """Result of :func:`matched_pair_test`.

    Attributes:
        slope: difference of the predictions per difference of the truths.
        right: share of pairs whose predictions stand in the right order.
        p_value: share of sign flips, the data among them, with as steep a slope.
        n_pairs: disjoint pairs.
        truth_difference: mean difference of the truths in a pair.
        prediction_difference: mean difference of the predictions.
    """

    slope: Interval
    right: float
    p_value: float
    n_pairs: int
    truth_difference: float
    prediction_difference: float


def neighbourhoods(conditions: Conditions, size: int) -> Int[np.ndarray, " star"]:
    """Groups of stars of like conditions: a balanced k-d tree's leaves.

    Cells are halved at the median of the condition that is widest there, in units of its
    spread over all stars, until none holds ``2 * size`` stars.

    Args:
        conditions: z; any unit.
        size: stars a group, at least.

    Returns:
        The number of each star's group.

    Raises:
        InputError: a condition is not finite or does not vary, or there are fewer than
            ``size`` stars.
    """
    if len(conditions) < size:
        raise TooFewStars(f"{len(conditions)} stars make no group of {size}: pass more stars")
    spread = np.subtract(*np.percentile(conditions, [84.0, 16.0], axis=0))
    bad = np.flatnonzero(~(spread > 0))
    if bad.size:
        raise InputError(f"condition {bad[0]} is not finite or does not vary: leave it out")
    scaled = np.asarray(conditions, np.float64) / spread
    group = np.zeros(len(conditions), np.int64)
    cells, finished = [np.arange(len(conditions))], 0
    while cells:
        rows = cells.pop()
        if len(rows) < 2 * size:
            group[rows] = finished
            finished += 1
            continue
        widest = np.argmax(np.ptp(scaled[rows], axis=0))
        order = rows[np.argsort(scaled[rows, widest], kind="stable")]
        cells += [order[: len(order) // 2], order[len(order) // 2 :]]
    return group


def conditional_permutation(
    truth: PerStar,
    prediction: PerStar,
    conditions: Conditions,
    *,
    permutations: int = 499,
    size: int = 40,
    seed: int = 0,
) -> PermutationTest:
    """Partial correlation at fixed conditions, and how often chance does as well.

    Args:
        truth: a.
        prediction: p, out of fold.
        conditions: z; any unit.
        permutations: of the prediction within groups.
        size: stars a group, at least; twice as many at most.
        seed: of the permutations.

    Returns:
        The correlation and what it is by chance.

    Raises:
        InputError: see :func:`neighbourhoods`; or the groups are too small for the
            number of conditions.
    """
    n_parameters = 1 + conditions.shape[1]
    if size < 2 * n_parameters:
        raise InputError(
            f"groups of {size} stars cannot fix {conditions.shape[1]} conditions: "
            f"take at least {2 * n_parameters}"
        )
    group = neighbourhoods(conditions, size)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    scaled = (conditions - conditions.mean(axis=0)) / conditions.std(axis=0)
    both = np.column_stack([truth, prediction]).astype(np.float64)
    smooth = _smooth_functions(conditions, seed)
    both = _without(both, smooth)
    # A permuted residual is regressed on z again, which takes these shares of its square.
    free = 1.0 - smooth.shape[1] / len(truth)
    shrink = 0.0
    for rows in np.split(order, starts[1:]):
        plane = np.column_stack([np.ones(len(rows)), scaled[rows] - scaled[rows].mean(axis=0)])
        both[rows] = _without(both[rows], plane)
        kept = free * (len(rows) - n_parameters) / (len(rows) - 1)
        shrink += kept * float(np.square(both[rows, 1]).sum())
    a, p = both.T
    a_square, p_square = float(a @ a), float(p @ p)
    if not (a_square > 0 and p_square > 0):
        raise InputError("truth or prediction does not vary at fixed conditions")
    found = float(a @ p / np.sqrt(a_square * p_square))
    # Groups as rows of a rectangle: sorting random numbers row by row shuffles within groups.
    count = np.diff(np.append(starts, len(order)))
    filled = np.arange(count.max())[None] < count[:, None]
    of_truth, of_prediction = np.zeros(filled.shape), np.zeros(filled.shape)
    of_truth[filled], of_prediction[filled] = a[order], p[order]
    rng = np.random.default_rng(seed)
    chance = np.empty(permutations)
    for i in range(permutations):
        key = np.where(filled, rng.random(filled.shape), 2.0)
        shuffled = np.take_along_axis(of_prediction, np.argsort(key, axis=1), axis=1)
        chance[i] = (of_truth * shuffled).sum() / np.sqrt(a_square * shrink)
    return PermutationTest(
        correlation=found,
        slope=float(a @ p) / a_square,
        chance=float(np.quantile(np.abs(chance), 0.95)),
        p_value=_p_value(found, chance),
        n_stars=len(truth),
        n_groups=len(starts),
    )


def matched_pairs(
    truth: PerStar,
    conditions: Conditions,
    tolerance: Float[np.ndarray, " condition"],
    *,
    difference: float,
) -> Int[np.ndarray, "pair 2"]:
    """Disjoint pairs of stars alike in every condition and different in the truth.

    Predictions have no say in the choice. Nearest pairs come first.

    Args:
        truth: a.
        conditions: z.
        tolerance: the largest difference of each condition in a pair.
        difference: the smallest difference of the truth in a pair.

    Returns:
        Row numbers, the star of lower truth first.

    Raises:
        InputError: see :func:`neighbourhoods`.
    """
    group = neighbourhoods(conditions, min(PARTNERS, len(conditions)))
    order = np.argsort(group, kind="stable")
    pairs: list[tuple[int, int]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        offset = np.abs(conditions[rows][:, None] - conditions[rows][None]) / tolerance
        distance = np.square(offset).sum(axis=2)
        first, second = np.nonzero(
            (offset <= 1.0).all(axis=2) & (truth[rows][None] - truth[rows][:, None] >= difference)
        )
        taken = np.zeros(len(rows), bool)
        for k in np.argsort(distance[first, second], kind="stable"):
            low, high = first[k], second[k]
            if not (taken[low] or taken[high]):
                taken[[low, high]] = True
                pairs.append((int(rows[low]), int(rows[high])))
    return np.array(pairs, np.int64).reshape(-1, 2)


def matched_pair_test(
    truth: PerStar,
    prediction: PerStar,
    conditions: Conditions,
    pairs: Int[np.ndarray, "pair 2"],
    *,
    draws: int = 999,
    seed: int = 0,
) -> PairTest:
    """Does the prediction follow the truth from star to matched star?

    The differences of what conditions are left in a pair are regressed out. If the
    prediction knew nothing but them, the signs of what remains would be chance.

    Args:
        truth: a.
        prediction: p, out of fold.
        conditions: z.
        pairs: of :func:`matched_pairs`.
        draws: sign flips, and bootstrap resamples of pairs.
        seed: of both.

    Returns:
        Slope, share of pairs in the right order, and what they are by chance.

    Raises:
        InputError: fewer than 20 pairs.
    """
    if len(pairs) < 20:
        raise TooFewStars(f"{len(pairs)} matched pairs, 20 are needed: widen the tolerance")
    change = [
        np.asarray(values, np.float64)[pairs[:, 1]] - np.asarray(values, np.float64)[pairs[:, 0]]
        for values in (truth, prediction, conditions)
    ]
    # No constant: which star of a pair comes first is a convention.
    scaled = change[2] / np.maximum(change[2].std(axis=0), np.finfo(float).tiny)
    a, p = _without(np.column_stack(change[:2]), scaled).T
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(pairs)))

    def slope(rows: Int[np.ndarray, " row"]) -> float:
        design = np.column_stack([change[0], scaled])[rows]
        return float(np.linalg.lstsq(design, change[1][rows], rcond=None)[0][0])

    return PairTest(
        slope=bootstrap(slope, len(pairs), draws=draws, seed=seed),
        right=float((change[1] > 0).mean()),
        p_value=_p_value(float(a @ p), signs @ (a * p)),
        n_pairs=len(pairs),
        truth_difference=float(change[0].mean()),
        prediction_difference=float(change[1].mean()),
    )


def quadratic(conditions: Conditions) -> np.ndarray:
    """Columns of a quadratic polynomial of the conditions ``[star, term]``, of order one.

    Args:
        conditions: ``[star, condition]``.

    Returns:
        A column of ones, the scaled conditions, and their products.
    """
    z = (conditions - conditions.mean(axis=0)) / conditions.std(axis=0)
    products = [z[:, i] * z[:, j] for i in range(z.shape[1]) for j in range(i, z.shape[1])]
    return np.column_stack([np.ones(len(z)), z, *products])


def _smooth_functions(conditions: Conditions, seed: int) -> np.ndarray:
    """A basis of functions that vary over about a standard deviation of the conditions.

    The quadratic polynomial and random Fourier features of a Gaussian kernel (Rahimi & Recht
    2007); planes within groups take what is rougher.
    """
    rng = np.random.default_rng([seed, 1])
    count = min(FEATURES, len(conditions) // STARS_A_FEATURE)
    z = (conditions - conditions.mean(axis=0)) / conditions.std(axis=0)
    wave = rng.normal(size=(z.shape[1], count))
    return np.column_stack(
        [quadratic(conditions), np.cos(z @ wave + rng.uniform(0.0, 2.0 * np.pi, count))]
    )


def _without(values: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Residuals of a linear regression, column by column; columns of ``design`` may repeat."""
    # Normal equations: columns are of order one, and this is many times faster than an SVD.
    square = design.T @ design
    ridge = 1e-10 * np.trace(square) * np.eye(len(square))
    return np.asarray(values - design @ np.linalg.solve(square + ridge, design.T @ values))


def _p_value(found: float, chance: np.ndarray) -> float:
    """Two-sided, the data counted among the permutations (Phipson & Smyth 2010)."""
    return float((1 + (np.abs(chance) >= abs(found)).sum()) / (1 + len(chance)))
