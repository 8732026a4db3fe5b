"""From the predictions of a run to its metrics, figures, catalogue and report."""

from __future__ import annotations

import json
from pathlib import Path

from aspgap_jax import plots
from aspgap_jax.catalogue import table as catalogue
from aspgap_jax.catalogue.predictions import Predictions, read_predictions
from aspgap_jax.errors import InputError
from aspgap_jax.files.atomic import write_text
from aspgap_jax.files.locks import locked, locking
from aspgap_jax.labels import index, lacking, names
from aspgap_jax.preprocessing.stars import Cut
from aspgap_jax.suite import report
from aspgap_jax.training.log import read_log
from aspgap_jax.validation import metrics

__all__ = ["draw_learning_curves", "evaluate"]


@locking
def evaluate(folder: Path) -> str:
    """Metrics, figures, catalogue and report from the predictions of a run.

    Args:
        folder: of the run; what is made goes into it.

    Returns:
        The table of metrics and the list of what was written, to be printed.

    Raises:
        InputError: the folder holds no finished cross-validation.
    """
    predictions = read_predictions(folder / "predictions.h5")
    table = metrics.metrics_table(predictions)
    write_text(folder / "metrics.json", json.dumps(table, indent=2) + "\n")
    figures = draw(folder, predictions)
    made = catalogue.catalogue_table(predictions)
    for suffix in ("fits", "h5"):
        catalogue.write_catalogue(folder / f"catalogue.{suffix}", made.table)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    files = [
        (
            folder / "predictions.h5",
            "out-of-fold labels, calibrated sigma, flags, and the truth",
        ),
        (folder / "metrics.json", "the numbers above"),
        (folder / "catalogue.fits", "catalogue with the columns of the paper's Table 2 (FITS)"),
        (folder / "catalogue.h5", "the same as HDF5"),
        (folder / "bundle", "the trained model: aspgap predict --bundle"),
        (folder / "config.json", "all settings"),
        (folder / "log.jsonl", "diagnostics of every epoch"),
    ]
    report.write_report(
        folder / "report.html",
        title="AspGap cross-validation",
        summary=summary["facts"]
        | {"absent from the data": ", ".join(made.absent) or "no column of Table 2"},
        cuts=[Cut(*cut) for cut in summary["cuts"]],
        metrics=table,
        labels=predictions.label_table,
        paper=True,
        figures=figures,
        files=files,
    )
    written = [(folder / "report.html", "all of it on one page"), *files]
    width = max(len(str(path)) for path, _ in written)
    lines = [f"{path!s:<{width}}  {what}" for path, what in written]
    printed = metrics.format_table(table, predictions.label_table)
    return "\n".join([printed, "", "written:", *lines])


def draw(folder: Path, predictions: Predictions) -> list[report.Picture]:
    """Draw the figures of a cross-validation."""
    truth, predicted = predictions.truth, predictions.prediction
    chi = metrics.normalised_residual(predicted, predictions.sigma, truth, predictions.truth_error)
    history = read_log(folder / "log.jsonl")
    table = predictions.label_table
    drawn = {}
    if not lacking(table):
        four = truth[:, [index(name, table) for name in names()]]
        drawn["figure02_training_set"] = (plots.training_set(four), "Fig. 2: the training set.")
    drawn |= {
        "figure05_one_to_one": (
            plots.one_to_one(predicted, truth, table=table),
            "Fig. 5: labels predicted out of fold from real XP spectra against APOGEE's.",
        ),
        "figure06_one_to_one_by_sigma": (
            plots.one_to_one_by_sigma(predicted, predictions.sigma, truth, table=table),
            "Fig. 6: as Fig. 5, coloured by the predicted uncertainty.",
        ),
        "figure08_chi": (
            plots.chi_distribution(chi, table=table),
            "Fig. 8: residuals over their uncertainties (chi), against N(0, 1).",
        ),
        "learning_curves": (plots.learning_curves(history), "Learning curves, term by term."),
    }
    figures = []
    with locked(folder / "figures"):
        for name, (figure, caption) in drawn.items():
            path = folder / "figures" / f"{name}.png"
            plots.save(figure, path)
            figures.append(report.Picture(path, caption))
    return figures


def draw_learning_curves(folder: Path, out: Path | None = None) -> tuple[Path, Path]:
    """Draw the learning curves of a run, finished or in progress.

    Args:
        folder: of the run.
        out: folder of the figures; by default ``figures`` in that of the run.

    Returns:
        The PNG and the PDF.

    Raises:
        InputError: the folder has no log, no epoch is done, or another process writes the
            figures at the moment.
    """
    history = read_log(folder / "log.jsonl")
    if not history:
        raise InputError(
            f"{folder / 'log.jsonl'}: no finished epoch there: give the folder of "
            "`aspgap train` or `aspgap crossval`, once it has trained an epoch"
        )
    figure = plots.learning_curves(history)
    out = folder / "figures" if out is None else out
    written = (out / "learning_curves.png", out / "learning_curves.pdf")
    # Not the run's folder, which a training may hold that is in progress.
    with locked(out):
        for path in written:
            plots.save(figure, path)
    return written
