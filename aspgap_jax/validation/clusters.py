"""Open clusters: stars of one birth should have one [M/H] (section 4.4, Fig. 15)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

__all__ = ["ClusterMean", "cluster_means"]


class ClusterMean(NamedTuple):
    """One label in one cluster.

    Attributes:
        name: of the cluster.
        n: members with a known label.
        mean: of them, in the label's unit.
        scatter: their standard deviation (n - 1); NaN for one star.
        error: of the mean: scatter / sqrt(n).
    """

    name: str
    n: int
    mean: float
    scatter: float
    error: float


def cluster_means(
    cluster: np.ndarray, values: Float[np.ndarray, " star"]
) -> tuple[ClusterMean, ...]:
    """Mean and scatter of a label in every cluster, in the order of their names.

    Args:
        cluster: name of the cluster of each star, text ``[star]``.
        values: the label; stars where it is NaN are left out.

    Returns:
        One a cluster that has a star.
    """
    found = []
    for name in np.unique(cluster):
        members = values[(cluster == name) & np.isfinite(values)].astype(np.float64)
        n = len(members)
        if not n:
            continue
        scatter = float(np.std(members, ddof=1)) if n > 1 else float("nan")
        found.append(
            ClusterMean(str(name), n, float(members.mean()), scatter, scatter / float(np.sqrt(n)))
        )
    return tuple(found)
