"""What GaiaXPy writes, in every format of its own: its spectra on any grid."""

from __future__ import annotations

import contextlib
import io
import warnings

import matplotlib
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import WAVELENGTH
from support.xp_habits import noted

FORMATS = ("csv", "ecsv", "fits", "xml")
RESAMPLED = "spectra on another wavelength grid were resampled to the archive's (2 stars)"


@pytest.fixture(scope="module")
def gaiaxpy():
    # GaiaXPy sets matplotlib to LaTeX when it is imported.
    with matplotlib.rc_context():
        yield pytest.importorskip("gaiaxpy")


@pytest.fixture(scope="module")
def continuous(shared):
    return shared / "data/xp_formats/XP_CONTINUOUS_RAW.csv"


def run(function, *args, **options):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return function(*args, **options)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("grid", [None, np.arange(335.0, 1021.0, 1.0)], ids=["default", "fine"])
def test_what_calibrate_writes(gaiaxpy, continuous, tmp_path, format, grid):
    options = {"output_path": tmp_path, "output_file": "spectra", "output_format": format}
    run(gaiaxpy.calibrate, continuous, sampling=grid, **options)
    expected, _ = run(gaiaxpy.calibrate, continuous, sampling=WAVELENGTH, save_file=False)
    if grid is None:
        expected, _ = run(gaiaxpy.calibrate, continuous, save_file=False)
    chunk, bad, notes = noted(tmp_path / f"spectra.{format}")
    assert bad == []
    assert notes == ([] if grid is None else [RESAMPLED])
    assert chunk.source_id.tolist() == expected["source_id"].tolist()
    for found, name in ((chunk.coefficients, "flux"), (chunk.errors, "flux_error")):
        np.testing.assert_allclose(found, np.stack(expected[name]), rtol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_what_convert_writes_is_refused(gaiaxpy, continuous, tmp_path, format):
    options = {"output_path": tmp_path, "output_file": "spectra", "output_format": format}
    run(gaiaxpy.convert, continuous, **options)
    with pytest.raises(InputError, match="pass what its `calibrate` writes"):
        noted(tmp_path / f"spectra.{format}")
