"""The card of a star in a file, by a bundle or a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from aspgap_jax.errors import InputError
from aspgap_jax.plots.star_card import star_card as draw
from aspgap_jax.prediction.bundle import Hallucinator, load_bundle, load_hallucinator
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.inputs import expand, read_source
from aspgap_jax.survey.xp import BadRow, XPChunk
from aspgap_jax.training.run import load_stars
from aspgap_jax.validation.star import StarCard, describe_star

__all__ = ["card_of", "find_star", "hallucinator_in", "star_card"]

CHUNK = 4096
# What the released bundle was trained on, as its card says.
SAMPLE = ("sample", "broad")


def star_card(
    spectra: str | Path, source_id: int | None = None, *, bundle: str | Path | None = None
) -> Figure:
    """Draw everything about a star of a file on a page.

    Args:
        spectra: a file of XP spectra in any format, a folder, a store, or ``sample``.
        source_id: Gaia source id; not needed where there is one star.
        bundle: a bundle or the folder of a run; ``None`` for the released bundle.

    Returns:
        The figure; :func:`aspgap_jax.plots.save` writes it.

    Raises:
        InputError: of :func:`card_of`.
    """
    return draw(card_of(spectra, source_id, bundle=bundle))


def card_of(
    spectra: str | Path, source_id: int | None = None, *, bundle: str | Path | None = None
) -> StarCard:
    """The numbers of :func:`star_card`.

    Args:
        spectra: as there.
        source_id: as there.
        bundle: as there.

    Returns:
        The card.

    Raises:
        InputError: the star is not there or its row is damaged, there is no such bundle, or
            it takes no such spectra.
    """
    folder = None if bundle is None else Path(bundle)
    star = find_star(spectra, source_id)
    model, info = load_bundle(folder)
    training, note = _training(folder, info.representation, info.n_xp)
    return describe_star(
        model, info, star, training=training, hallucinator=hallucinator_in(folder), notes=(note,)
    )


def find_star(spectra: str | Path, source_id: int | None = None) -> XPChunk:
    """One star of a file.

    Args:
        spectra: a file of XP spectra, a folder or pattern of them, a store, or ``sample``.
        source_id: Gaia source id; not needed where there is one star.

    Returns:
        A chunk of one star.

    Raises:
        InputError: it is not there, its row is damaged, or several are there and none is named.
    """
    bad: list[BadRow] = []
    rows, first = 0, None
    for chunk in _chunks(str(spectra), bad):
        if source_id is None:
            first = chunk if first is None and len(chunk) else first
        elif (found := np.flatnonzero(chunk.source_id == source_id)).size:
            return chunk[int(found[0]) : int(found[0]) + 1]
        rows += len(chunk)
    if source_id is None:
        if first is not None and rows == 1:
            return first
        some = "" if first is None else f", such as --id {first.source_id[0]}"
        raise InputError(f"{spectra}: has {rows:,} stars: say which{some}")
    for row in bad:
        if row.source_id == source_id:
            raise InputError(f"{spectra}: the row of star {source_id} is damaged: {row.what}")
    raise InputError(
        f"{spectra}: star {source_id} is not among its {rows:,} rows"
        + (f" ({len(bad):,} more are damaged)" if bad else "")
        + ": give the Gaia DR3 source_id of one of them"
    )


def _chunks(spectra: str, bad: list[BadRow]) -> Iterator[XPChunk]:
    for source in expand([spectra]).sources:
        yield from read_source(source, chunk_size=CHUNK, correlations=False, on_bad_row=bad.append)


def _training(
    folder: Path | None, representation: str, n_xp: int
) -> tuple[TrainingSet | None, str]:
    """The training stars, and where they are from or why there are none."""
    data, what = SAMPLE, "the real sample, for the bundle carries no training stars"
    if folder is not None and folder.name == "bundle":
        folder = folder.parent
    if folder is not None and (folder / "config.json").is_file():
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        data, what = (settings["data"], settings["select"]), "those of the run"
    try:
        stars = load_stars(*data)
    except InputError as error:
        return None, f"no training stars to compare with: {error}"
    if stars.representation != representation or stars.xp.shape[1] != n_xp:
        return None, f"no training stars to compare with: {what} are {stars.representation} spectra"
    known = np.isfinite(stars.labels).all(axis=1) & np.isfinite(stars.g_mag)
    stars = stars.where(known)
    return stars, f"training stars are {what} ({len(stars):,})"


def hallucinator_in(folder: Path | None) -> Hallucinator | None:
    """The hallucinator of a bundle, where it has one.

    Args:
        folder: of a bundle or of a run; ``None`` for the released bundle.

    Returns:
        ``None`` where it was left out.
    """
    try:
        return load_hallucinator(folder)
    except InputError:
        return None
