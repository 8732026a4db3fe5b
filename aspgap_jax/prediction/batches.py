"""Stars through the device in batches of one shape, and the columns that come out.

Both the streaming of files and the :class:`aspgap_jax.prediction.predictor.Predictor` go
through here, so they give the same labels.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from aspgap_jax.columns import (
    ColumnSpec,
    catalogue_columns,
    correlation_columns,
    label_columns,
    trust_columns,
)
from aspgap_jax.config import Config, PredictOptions
from aspgap_jax.labels import LABELS, LabelSet
from aspgap_jax.prediction.bundle import Bundle, BundleInfo, check_spectra
from aspgap_jax.prediction.labelling import LabelOptions, StarBatch, band_snr, label_stars
from aspgap_jax.survey.xp import BANDS, XPChunk
from aspgap_jax.survey.xp.instrument import check_release
from aspgap_jax.typing import Array, Float, Int

__all__ = [
    "DEFAULT",
    "BatchLabeller",
    "BatchLabels",
    "LabelColumns",
    "label_options",
    "star_batch",
]

# Stars a batch and device. On a CPU the activations of so many stay in its caches;
# a GPU wants more to be busy.
BATCH_SIZE = {"cpu": 2048}
GPU_BATCH_SIZE = 65_536


DEFAULT = PredictOptions()


def star_batch(
    chunk: XPChunk, g_mag: np.ndarray, ruwe: np.ndarray, options: PredictOptions
) -> StarBatch:
    """The stars of a chunk as arrays for the device, still on the host (float32).

    Args:
        chunk: the spectra.
        g_mag: Gaia G, mag; NaN: taken from the spectrum.
        ruwe: Gaia's ruwe; NaN where unknown.
        options: how to predict.

    Returns:
        The batch.
    """
    present = chunk.present
    if not present.shape[1]:
        # Sampled spectra show a missing band by their holes.
        present = np.ones((len(chunk), len(BANDS)), bool)
    host = {
        "xp": chunk.coefficients,
        "xp_error": chunk.errors,
        "g_mag": g_mag,
        "present": present,
        "ruwe": ruwe,
        "correlations": chunk.correlations if options.propagate == "full" else None,
    }
    return StarBatch(**jax.tree.map(_in_single_precision, host))


def _in_single_precision(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == np.bool_ else values.astype(np.float32, copy=False)


def label_options(chunk: XPChunk, options: PredictOptions) -> LabelOptions:
    """What is asked of the device for such spectra.

    Args:
        chunk: the spectra.
        options: how to predict.

    Returns:
        Static arguments of :func:`aspgap_jax.prediction.labelling.label_stars`.
    """
    return LabelOptions(
        representation="continuous" if chunk.representation == "continuous" else "sampled",
        compute=options.compute,
        second_path=options.second_path,
        propagate=options.propagate,
        n_bp=chunk.n_bp,
    )


class BatchLabels(NamedTuple):
    """What the device returns; its batch may be longer than its stars.

    Attributes:
        values: a row for each floating-point column of :class:`LabelColumns`.
        flags: quality bits.
    """

    values: Float[Array, "column star"]
    flags: Int[Array, " star"]


class BatchLabeller:
    """A bundle on its devices; a call predicts the stars of one chunk.

    Every local device takes an equal share of the batch.

    Args:
        bundle: the model.
        info: what it is.
        options: how to predict.

    Attributes:
        batch_size: the most stars that a chunk may have.
    """

    def __init__(self, bundle: Bundle, info: BundleInfo, options: PredictOptions) -> None:
        devices = jax.local_devices()
        size = options.batch_size or len(devices) * BATCH_SIZE.get(
            devices[0].platform, GPU_BATCH_SIZE
        )
        self.info = info
        self.options = options
        self.batch_size = -(-size // len(devices)) * len(devices)
        mesh = Mesh(np.array(devices), ("star",), axis_types=(AxisType.Auto,))
        self._stars = NamedSharding(mesh, PartitionSpec("star"))
        self._bundle = jax.device_put(bundle, NamedSharding(mesh, PartitionSpec()))

    def check(self, chunk: XPChunk) -> None:
        """Raise ``InputError`` where the bundle does not take such spectra."""
        check_release(self.info.representation, self.info.release, chunk)
        check_spectra(self.info, chunk.representation, chunk.coefficients.shape[1])

    def __call__(self, chunk: XPChunk, g_mag: np.ndarray, ruwe: np.ndarray) -> BatchLabels:
        """Labels of at most ``batch_size`` stars; returns before they are computed.

        Args:
            chunk: the spectra.
            g_mag: Gaia G, mag; NaN: taken from the spectrum.
            ruwe: Gaia's ruwe; NaN where unknown.
        """
        host = jax.tree.map(self._padded, star_batch(chunk, g_mag, ruwe, self.options))
        batch = jax.device_put(host, self._stars)
        found: BatchLabels = _label_columns(
            self._bundle, batch, self.info.config, label_options(chunk, self.options)
        )
        return found

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """``values`` with the rows of a batch."""
        if len(values) == self.batch_size:
            return values
        fill = False if values.dtype == np.bool_ else np.nan
        out = np.full((self.batch_size, *values.shape[1:]), fill, values.dtype)
        out[: len(values)] = values
        return out


@partial(jax.jit, static_argnames=("cfg", "options"))
def _label_columns(
    bundle: Bundle, batch: StarBatch, cfg: Config, options: LabelOptions
) -> BatchLabels:
    """Labels of a batch, column by column: one transfer, and nothing to rearrange."""
    found = label_stars(bundle, batch, cfg, options)
    row, column = np.triu_indices(found.mean.shape[1], 1)
    blocks = [found.mean, found.sigma, found.epistemic, found.aleatoric]
    blocks.append(found.correlation[:, row, column])
    if options.propagate != "none":
        blocks.append(found.propagated)
    blocks += [band_snr(bundle, batch, options), found.g_synthetic[:, None]]
    return BatchLabels(jnp.concatenate(blocks, axis=1).T, found.flags)


class LabelColumns:
    """The columns of predicted stars.

    Args:
        options: how they are predicted.
        table: the labels of the bundle.

    Attributes:
        specs: the columns, in order.
        first: the first label.
    """

    def __init__(self, options: PredictOptions, table: LabelSet = LABELS) -> None:
        known = {spec.name: spec for spec in (*catalogue_columns(table), *trust_columns(table))}
        prefixes = ("", "e_", "spread_", "noise_")
        values = [spec for p in prefixes for spec in label_columns(p, "{}", table=table)]
        values += correlation_columns(table)
        propagated = label_columns(
            "prop_", "Part of the error of {} that the XP errors make", "stat.error", table
        )
        self._values = [known[spec.name] for spec in values]
        self._values += propagated if options.propagate != "none" else ()
        self._values += [known["snr_bp"], known["snr_rp"], known["g_synthetic"]]
        self._given = [known["phot_g_mean_mag"], known["ruwe"]]
        self.first = self._values[0].name
        self.specs: tuple[ColumnSpec, ...] = (
            known["source_id"],
            *self._values,
            *self._given,
            known["flags"],
        )

    def of(
        self, source_id: np.ndarray, g_mag: np.ndarray, ruwe: np.ndarray, found: BatchLabels
    ) -> dict[str, np.ndarray]:
        """The columns of the stars of a batch; waits for the device.

        Args:
            source_id: Gaia source ids ``[star]``.
            g_mag: Gaia G, mag; NaN where the file has none.
            ruwe: Gaia's ruwe; NaN where unknown.
            found: of the device.

        Returns:
            By name, ``[star]``, in the units of the column table; the synthetic G stands
            where the file has none (flag ``NO_G``).
        """
        stars = len(source_id)
        values = np.asarray(found.values)[:, :stars]
        columns = {spec.name: row for spec, row in zip(self._values, values, strict=True)}
        g_used = np.where(np.isnan(g_mag), columns["g_synthetic"], g_mag)
        given = zip(self._given, (g_used, ruwe), strict=True)
        return (
            {"source_id": source_id}
            | columns
            | {spec.name: np.asarray(v).astype(spec.dtype, copy=False) for spec, v in given}
            | {"flags": np.asarray(found.flags)[:stars].astype(np.int32, copy=False)}
        )
