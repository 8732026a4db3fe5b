"""Gradient spectra d(flux)/d(label), hallucinated and physical (paper section 3, Fig. 4).

The hallucinator maps latents to an APOGEE-like spectrum; it knows no labels. There are two ways
to ask how its spectrum changes with a label.

- :func:`gradients_by_labels` regresses the hallucinated spectra of stars on the labels that
  the networks give them: how spectra change with what the networks know of a label.
- :func:`label_directions` regresses real XP spectra on APOGEE's labels round a reference star,
  and :func:`hallucinated_gradients` pushes each direction through encoder and hallucinator with
  ``jax.jacfwd``. Nothing of the direction is taken from the networks. It also tells how far
  they mix labels that XP spectra hardly tell apart, such as log g and Teff at fixed others.

Training constrains the hallucinated spectrum only as far as the frozen APOGEE decoder sees
it: what is orthogonal to the rows of the decoder's first layer changes no label. Without a
basis (:mod:`aspgap_jax.basis`) it stays as the initialisation left it. The *visible* part is
therefore told beside the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aspgap_jax import labels, model
from aspgap_jax.apstar import (
    LOG10_START,
    LOG10_STEP,
    N_PIXELS,
    in_chips,
    running_continuum,
)
from aspgap_jax.config import Config
from aspgap_jax.errors import InputError, TooFewStars
from aspgap_jax.model import Params, Variables
from aspgap_jax.prediction.bundle import Networks
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.synthesis import LineList
from aspgap_jax.typing import Array, Float

__all__ = [
    "BANDWIDTH",
    "STEP",
    "Directions",
    "Hallucinated",
    "correlation",
    "gradients_by_labels",
    "hallucinated_gradients",
    "hallucinated_spectra",
    "label_directions",
    "line_pixels",
    "over_continuum",
    "physical_gradients",
    "shifted_correlation",
    "visible_part",
]

BANDWIDTH = (150.0, 0.4, 0.2, 0.1)
"""Standard deviations of the Gaussian weights of :func:`label_directions`, in the units and
the order of the label table: wide enough for a thousand stars of the sample."""

STEP = (50.0, 0.1, 0.1, 0.1)
"""A typical difference of each label, in its unit; what moves labels is told per step."""

NEAREST = 3000
"""Stars round the reference whose hallucinated spectra are regressed; those further away weigh
next to nothing."""

MIN_STARS = 10.0
"""The regression needs so many effective stars for each of its parameters."""


class Directions(NamedTuple):
    """How real spectra change with each label round a reference star.

    Attributes:
        spectrum: the XP spectrum there, normalised by magnitude ``[xp]``.
        per_label: its derivative by each label, the others fixed, in the unit of
            ``spectrum`` over the label's ``[label, xp]``.
        n_stars: effective number of stars, (sum w)^2 / sum w^2.
    """

    spectrum: Float[np.ndarray, " xp"]
    per_label: Float[np.ndarray, "label xp"]
    n_stars: float


class Hallucinated(NamedTuple):
    """What the networks make of the directions, member by member.

    Attributes:
        flux: the hallucinated spectrum at the reference star ``[member, pixel]``.
        gradient: its derivative along every direction, per unit of the label
            ``[member, label, pixel]``.
        visible: the part of ``gradient`` that the frozen decoder sees.
        direct: derivatives of the labels that the XP decoder reads, ``[member,
            read label, moved label]``; the identity if the directions are pure.
        read: the same of the labels that the frozen APOGEE decoder reads off the
            hallucinated spectrum.
    """

    flux: Float[np.ndarray, "member pixel"]
    gradient: Float[np.ndarray, "member label pixel"]
    visible: Float[np.ndarray, "member label pixel"]
    direct: Float[np.ndarray, "member label label"]
    read: Float[np.ndarray, "member label label"]


def label_directions(
    xp: Float[np.ndarray, "star xp"],
    truth: Float[np.ndarray, "star label"],
    reference: Float[np.ndarray, " label"],
    *,
    nuisance: Float[np.ndarray, "star nuisance"] | None = None,
) -> Directions:
    """Regress spectra on labels round ``reference``: a locally quadratic fit.

    Minimises sum_i w_i |x_i - x_0 - B^T (y_i - y_0) - C^T q_i - D^T (z_i - z_0)|^2 with
    Gaussian weights w in label space, all products q of two label differences, and z_0 the
    weighted mean of the nuisances. Without q, the curvature along the giant branch, where
    labels go together, would pass for slopes.

    Args:
        xp: spectra normalised by magnitude, in any unit.
        truth: labels of the table.
        reference: y_0, labels of the reference star.
        nuisance: what else shapes a spectrum and may go with a label, above all
            extinction; held fixed like the other labels.

    Returns:
        The spectrum at the reference, and its derivative by every label.

    Raises:
        InputError: fewer than 10 effective stars a parameter: the reference star is
            at the edge of the sample, or beyond it.
    """
    scale = np.asarray(BANDWIDTH, np.float64)
    offset = (truth.astype(np.float64) - reference) / scale
    weight = np.exp(-0.5 * np.square(offset).sum(axis=1))
    n_stars = float(weight.sum() ** 2 / max(np.square(weight).sum(), np.finfo(float).tiny))
    pairs = [(i, j) for i in range(len(reference)) for j in range(i, len(reference))]
    products = np.stack([offset[:, i] * offset[:, j] for i, j in pairs], axis=1)
    columns = [np.ones((len(xp), 1)), offset, products]
    if nuisance is not None:
        mean = np.average(nuisance, axis=0, weights=weight) if weight.any() else 0.0
        columns.append(nuisance - mean)
    design = np.concatenate(columns, axis=1)
    if n_stars < MIN_STARS * design.shape[1]:
        raise TooFewStars(
            f"{n_stars:.0f} stars near the reference star {np.round(reference, 3).tolist()}, "
            f"{MIN_STARS * design.shape[1]:.0f} are needed: choose labels inside the sample"
        )
    root = np.sqrt(weight)[:, None]
    # Fluxes are of order 1e-17: scaled, or the solver takes them for rounding errors.
    size = np.abs(xp).max()
    fitted = np.linalg.lstsq(root * design, root * (xp / size), rcond=None)[0] * size
    n_labels = len(reference)
    return Directions(fitted[0], fitted[1 : 1 + n_labels] / scale[:, None], n_stars)


def hallucinated_gradients(networks: Networks, cfg: Config, directions: Directions) -> Hallucinated:
    """Derivatives of hallucinated spectra along label directions, by ``jax.jacfwd``.

    Args:
        networks: of a run; the derivative is that of every member.
        cfg: of the training.
        directions: in the representation that the networks take.

    Returns:
        Spectra and derivatives of every member, on the apStar grid.

    Raises:
        InputError: the directions are of another width than the networks' spectra.
    """
    width = networks.scalers.xp.centre.shape[-1]
    if directions.spectrum.shape[0] != width:
        raise InputError(
            f"the bundle takes spectra of {width} values, the directions have "
            f"{directions.spectrum.shape[0]}: use the data that the bundle was trained on"
        )
    spectrum = jnp.asarray(directions.spectrum, jnp.float32)
    per_label = jnp.asarray(directions.per_label, jnp.float32)

    def outputs(
        step: Float[Array, " label"], params: Params, decoder: Variables, scalers: Scalers
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        xp = scalers.xp.transform((spectrum + step @ per_label)[None])
        latents = model.encode(cfg.model, params, xp)
        flux = model.hallucinate(cfg.model, params, decoder, latents)
        direct = model.decode_xp(cfg.model, params, latents)[0]
        read = model.decode_apogee(cfg.model, decoder, flux)
        return flux[0], scalers.labels.inverse(direct)[0], scalers.labels.inverse(read)[0]

    def member(
        params: Params, decoder: Variables, scalers: Scalers
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
        here = jnp.zeros(len(labels.LABELS))
        return (
            outputs(here, params, decoder, scalers)[0],
            jax.jacfwd(outputs)(here, params, decoder, scalers),
        )

    flux, (gradient, direct, read) = jax.device_get(
        jax.jit(jax.vmap(member))(networks.params, networks.decoder, networks.scalers)
    )
    gradient = np.swapaxes(gradient, 1, 2)
    return Hallucinated(flux, gradient, visible_part(networks, gradient), direct, read)


def visible_part(
    networks: Networks, gradient: Float[np.ndarray, "member label pixel"]
) -> Float[np.ndarray, "member label pixel"]:
    """The part of gradient spectra that lies in the span of the frozen decoder's first layer.

    Args:
        networks: of a run.
        gradient: of every member.

    Returns:
        Of the same shape.
    """
    seen = np.linalg.qr(np.asarray(networks.decoder["params"]["Dense_0"]["kernel"]))[0]
    part: Float[np.ndarray, "member label pixel"] = (gradient @ seen) @ np.swapaxes(seen, 1, 2)
    return part


def gradients_by_labels(
    networks: Networks,
    cfg: Config,
    xp: Float[np.ndarray, "star xp"],
    reference: Float[np.ndarray, " label"],
) -> tuple[Float[np.ndarray, "member pixel"], Float[np.ndarray, "member label pixel"]]:
    """How the hallucinated spectra of stars change with the labels that the networks give them.

    A locally quadratic regression round ``reference``, as that of :func:`label_directions`,
    of each member's spectra on the mean labels of the XP decoders.

    Args:
        networks: of a run.
        cfg: of the training.
        xp: spectra normalised by magnitude, as the networks take them.
        reference: labels of the reference star.

    Returns:
        The spectrum at the reference, and its derivative by every label, per its unit.

    Raises:
        InputError: too few stars near the reference.
    """
    direct = jax.jit(jax.vmap(partial(_direct, cfg), in_axes=(0, 0, None)))
    own = np.asarray(direct(networks.params, networks.scalers, jnp.asarray(xp, jnp.float32)))
    given = own.mean(axis=0).astype(np.float64)
    distance = np.square((given - reference) / np.asarray(BANDWIDTH)).sum(axis=1)
    near = np.argsort(distance)[:NEAREST]
    spectra = jax.jit(partial(_flux, cfg))
    found = []
    for m in range(len(own)):
        member = jax.tree.map(lambda leaf, m=m: leaf[m], networks)
        flux = np.asarray(spectra(*member, jnp.asarray(xp[near], jnp.float32)), np.float64)
        found.append(label_directions(flux, given[near], reference))
    return np.stack([f.spectrum for f in found]), np.stack([f.per_label for f in found])


def hallucinated_spectra(
    networks: Networks, cfg: Config, xp: Float[np.ndarray, "star xp"]
) -> Float[np.ndarray, "star pixel"]:
    """Hallucinated spectra of stars, the mean over the members.

    Args:
        networks: of a run.
        cfg: of the training.
        xp: spectra normalised by magnitude, as the networks take them.

    Returns:
        Flux over continuum on the apStar grid.
    """
    flux = jax.vmap(partial(_flux, cfg), in_axes=(0, 0, 0, None))
    return np.asarray(flux(*networks, jnp.asarray(xp, jnp.float32)).mean(axis=0), np.float64)


def _direct(cfg: Config, params: Params, scalers: Scalers, xp: jax.Array) -> jax.Array:
    """Labels of the XP decoder."""
    latents = model.encode(cfg.model, params, scalers.xp.transform(xp))
    return scalers.labels.inverse(model.decode_xp(cfg.model, params, latents)[0])


def _flux(
    cfg: Config, params: Params, decoder: Variables, scalers: Scalers, xp: jax.Array
) -> jax.Array:
    """Hallucinated spectra."""
    latents = model.encode(cfg.model, params, scalers.xp.transform(xp))
    return model.hallucinate(cfg.model, params, decoder, latents)


def physical_gradients(
    spectra_at: Callable[[np.ndarray], np.ndarray], reference: Float[np.ndarray, " label"]
) -> tuple[Float[np.ndarray, " pixel"], Float[np.ndarray, "label pixel"]]:
    """A model spectrum at the reference star and its derivatives, by central differences.

    Args:
        spectra_at: labels ``[star, label]`` to flux ``[star, pixel]``.
        reference: labels of the table.

    Returns:
        Flux, and its derivatives per unit of each label.
    """
    # A fifth of a step: small beside what bends, large beside the rounding of float32.
    step = 0.2 * np.asarray(STEP)
    ends = np.concatenate([reference + np.diag(step), reference - np.diag(step)])
    flux = np.asarray(spectra_at(np.concatenate([reference[None], ends])), np.float64)
    above, below = np.split(flux[1:], 2)
    return flux[0], (above - below) / (2.0 * step[:, None])


def over_continuum(
    flux: Float[np.ndarray, " pixel"], gradient: Float[np.ndarray, "label pixel"]
) -> Float[np.ndarray, "label pixel"]:
    """Derivatives of flux over running continuum, where ``gradient`` is that of flux.

    Spectra of different make are comparable only over the same continuum
    (:func:`aspgap_jax.apstar.running_continuum`), and so are their gradients. The
    continuum is a quantile, so the derivative is a central difference along the gradient.

    Args:
        flux: on the apStar grid.
        gradient: its derivatives.

    Returns:
        ``[label, pixel]`` per unit of the label, NaN between the chips.
    """
    step = np.asarray(STEP)[:, None]
    ends = [flux[None] + sign * step * gradient for sign in (1.0, -1.0)]
    above, below = (end / running_continuum(end) for end in ends)
    return np.asarray((above - below) / (2.0 * step))


def correlation(first: np.ndarray, second: np.ndarray, pixels: np.ndarray | None = None) -> float:
    """Pearson's correlation over the pixels that are finite in both (and in ``pixels``).

    Args:
        first: on the apStar grid.
        second: likewise.
        pixels: mask of those that count; ``None``: all.

    Returns:
        NaN where fewer than three pixels count, or a spectrum does not vary.
    """
    use = np.isfinite(first) & np.isfinite(second)
    if pixels is not None:
        use &= pixels
    if use.sum() < 3 or not (first[use].std() > 0 and second[use].std() > 0):
        return float("nan")
    return float(np.corrcoef(first[use], second[use])[0, 1])


def shifted_correlation(
    first: Float[np.ndarray, " pixel"],
    second: Float[np.ndarray, " pixel"],
    *,
    draws: int,
    seed: int,
) -> float:
    """What :func:`correlation` reaches by chance: 95% of shifts stay below in absolute value.

    One spectrum is turned round by at least 100 pixels (42 Angstrom at 1.6 micron), so both
    keep their lines, and the lines no longer match.

    Args:
        first: on the apStar grid.
        second: likewise.
        draws: shifts.
        seed: of the shifts.

    Returns:
        Between 0 and 1.
    """
    first, second = first[in_chips], second[in_chips]
    rng = np.random.default_rng(seed)
    shifts = rng.integers(100, len(first) - 100, size=draws)
    found = [abs(correlation(first, np.roll(second, shift))) for shift in shifts]
    return float(np.quantile(found, 0.95))


def line_pixels(
    lines: LineList, species: str, teff: float, *, strongest: int = 20, half_width: int = 3
) -> np.ndarray:
    """Pixels at the strongest lines of one species that the chips cover, bool ``[pixel]``.

    Args:
        lines: the line list of the package.
        species: ``Mg``, ``OH``.
        teff: K; orders lines by log gf - 5040 chi / Teff.
        strongest: lines to take.
        half_width: pixels on each side; 3 cover the instrumental profile.

    Returns:
        Mask on the apStar grid.
    """
    rows = lines.of(species)
    wavelength = np.asarray(lines.wavelength, np.float64)[rows]
    place = np.rint((np.log10(wavelength) - LOG10_START) / LOG10_STEP).astype(int)
    place = place.clip(0, N_PIXELS - 1)
    strength = np.asarray(lines.log_gf)[rows] - 5040.0 / teff * np.asarray(lines.excitation)[rows]
    strength = np.where(in_chips[place], strength, -np.inf)
    chosen = place[np.argsort(strength)[::-1][:strongest]]
    pixels = np.zeros(N_PIXELS, bool)
    for offset in range(-half_width, half_width + 1):
        pixels[(chosen + offset).clip(0, N_PIXELS - 1)] = True
    return pixels & in_chips
