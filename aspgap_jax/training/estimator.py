"""Training from Python, with the habits of scikit-learn: ``fit``, ``predict``, ``save``, ``load``.

::

    model = AspGap(preset="compact").fit(table)
    labels = model.predict(others)
    model.save("my-bundle")

What is trained is the run of ``aspgap train`` on the same stars.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from aspgap_jax.config import DEFAULT_PRESET, PRESETS, Config
from aspgap_jax.errors import InputError
from aspgap_jax.prediction.predictor import Predictor
from aspgap_jax.preprocessing.selection import SELECTIONS
from aspgap_jax.preprocessing.stars import TrainingSet
from aspgap_jax.survey.store import read_training_store, write_training_store
from aspgap_jax.training.run import STARS, Settings, train
from aspgap_jax.training.stars_given import stars_of_arrays, stars_of_table

__all__ = ["AspGap", "fit"]


class AspGap:
    """A model that learns labels from XP spectra.

    Args:
        preset: the settings, a key of :data:`aspgap_jax.config.PRESETS`; by default that of
            ``aspgap train``.
        config: all settings, instead of a preset; :func:`aspgap_jax.config.with_labels` makes
            one for other labels.
        select: which of the stars to train on, a key of
            :data:`aspgap_jax.preprocessing.selection.SELECTIONS`.
        out: folder of the run; training into the same folder goes on where it was
            interrupted. ``None``: a temporary one.

    Attributes:
        config: the settings.
        bundle: the folder of the trained bundle, ``None`` before.

    Raises:
        InputError: no such preset or selection, or two kinds of settings.
    """

    def __init__(
        self,
        preset: str | None = None,
        *,
        config: Config | None = None,
        select: str = "usable",
        out: str | Path | None = None,
    ) -> None:
        if preset is not None and config is not None:
            raise InputError("preset and config: give one of the two")
        if preset is not None and preset not in PRESETS:
            raise InputError(f"no preset {preset!r}; the presets are {', '.join(PRESETS)}")
        if select not in SELECTIONS:
            raise InputError(f"no selection {select!r}; it is one of {', '.join(SELECTIONS)}")
        self.config = config or PRESETS[preset or DEFAULT_PRESET]
        self.bundle: Path | None = None
        self._select = select
        self._out = None if out is None else Path(out)
        self._predictor: Predictor | None = None

    def __repr__(self) -> str:
        state = "not trained" if self.bundle is None else f"trained: {self._trained()!r}"
        return f"<AspGap, {state}>"

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        xp_error: Any = None,
        y_error: Any = None,
        g_mag: Any = None,
        source_id: Any = None,
    ) -> AspGap:
        """Train.

        Args:
            X: a table of XP spectra as :class:`aspgap_jax.prediction.predictor.Predictor`
                takes it; an array ``[star, xp]`` of coefficients, or of sampled fluxes in
                W m^-2 nm^-1; ``sample``, the real sample; or the path of a training store.
            y: labels, a row a star: an array ``[star, label]`` in the order and units of the
                label table, or a table with such columns; by default they are columns of ``X``.
            xp_error: of an array ``X``, its 1-sigma errors.
            y_error: 1-sigma errors of the labels: an array, or one number a label; by default
                columns ``e_teff``, ``teff_err`` or ``teff_error`` beside the labels.
            g_mag: of an array ``X``, Gaia G, mag.
            source_id: of an array ``X``; row numbers by default.

        Returns:
            Itself, trained.

        Raises:
            InputError: no spectra or labels, or ``out`` holds another run.
            KeyboardInterrupt, Preempted: the state is saved, if ``out`` was given.
        """
        folder = self._out or self._scratch()
        if isinstance(X, str | Path):
            data = str(X)
        else:
            if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.names is None:
                found = stars_of_arrays(
                    X,
                    y,
                    xp_error=xp_error,
                    y_error=y_error,
                    g_mag=g_mag,
                    source_id=source_id,
                    wanted=self.config.labels,
                )
            else:
                found = stars_of_table(X, y, y_error, self.config.labels)
            for note in found.notes:
                warnings.warn(note, stacklevel=2)
            data = str(_kept(folder, found.stars))
        train(folder, Settings(data, self._select, False, self.config))
        self._predictor, self.bundle = None, folder / "bundle"
        return self

    def predict(self, X: Any) -> Any:
        """Labels of the stars of a table, or of files.

        Args:
            X: see :class:`aspgap_jax.prediction.predictor.Predictor`.

        Returns:
            The caller's kind of table.

        Raises:
            InputError: nothing is trained yet, or ``X`` cannot be read.
        """
        return self._trained()(X)

    def save(self, folder: str | Path) -> None:
        """Keep the bundle, for ``aspgap predict --bundle``, ``Predictor`` and :meth:`load`.

        Args:
            folder: it is made.

        Raises:
            InputError: nothing is trained yet, or something is there.
        """
        self._trained()
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target}: something is there; choose another folder")
        assert self.bundle is not None
        shutil.copytree(self.bundle, target, dirs_exist_ok=True)

    @classmethod
    def load(cls, folder: str | Path) -> AspGap:
        """A trained model.

        Args:
            folder: what :meth:`save` wrote, or the folder of a run.

        Returns:
            The model, ready to predict.

        Raises:
            InputError: there is none.
        """
        predictor = Predictor(folder)
        found = cls(config=predictor.info.config)
        inside = Path(folder) / "bundle"
        found.bundle = inside if inside.is_dir() else Path(folder)
        found._predictor = predictor
        return found

    def _scratch(self) -> Path:
        """A folder that lives as long as this, for what is trained into it."""
        made = Path(tempfile.mkdtemp(prefix="aspgap-"))
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return made / "run"

    def _trained(self) -> Predictor:
        if self.bundle is None:
            raise InputError("nothing is trained yet: call fit first, or load")
        if self._predictor is None:
            self._predictor = Predictor(self.bundle)
        return self._predictor


def fit(
    X: Any,
    y: Any = None,
    *,
    preset: str | None = None,
    config: Config | None = None,
    select: str = "usable",
    out: str | Path | None = None,
    **given: Any,
) -> AspGap:
    """Train a model; see :class:`AspGap` for the settings and :meth:`AspGap.fit` for the stars.

    Args:
        X: table or array of spectra.
        y: labels, if they are no columns of ``X``.
        preset: the settings; by default those of ``aspgap train``.
        config: all settings, instead.
        select: which of the stars to train on.
        out: folder of the run.
        **given: ``xp_error``, ``y_error``, ``g_mag``, ``source_id``.

    Returns:
        The trained model.

    Raises:
        InputError: as :meth:`AspGap.fit`.
    """
    return AspGap(preset, config=config, select=select, out=out).fit(X, y, **given)


def _kept(folder: Path, stars: TrainingSet) -> Path:
    """The training store of stars in the folder of their run.

    Raises:
        InputError: it is there, with other stars.
    """
    path = folder / STARS
    if path.is_file():
        before = read_training_store(path)
        names = ("source_id", "xp", "xp_error", "g_mag", "labels", "label_error")
        if not all(
            np.array_equal(getattr(before, n), getattr(stars, n), equal_nan=n != "source_id")
            for n in names
        ):
            raise InputError(f"{folder}: holds a run on other stars; choose another out")
        return path.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write_training_store(path, stars)
    return path.resolve()
