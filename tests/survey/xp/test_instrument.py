"""The design matrix and the covariances against GaiaXPy."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings

import matplotlib
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import BANDS, WAVELENGTH, read_xp
from aspgap_jax.survey.xp.instrument import covariance, instrument_model, sample_spectra


@pytest.fixture(scope="module")
def model():
    # GaiaXPy sets matplotlib to LaTeX when it is imported.
    with matplotlib.rc_context():
        pytest.importorskip("gaiaxpy.core.config")
    return instrument_model()


@pytest.fixture(scope="module")
def stars(shared):
    """Three real stars, one of them without BP."""
    path = shared / "data/xp_formats/XP_CONTINUOUS_RAW_with_missing_BP.ecsv"
    return path, next(read_xp(path, correlations=True))


def calibrated(path):
    calibrator = pytest.importorskip("gaiaxpy.calibrator.calibrator")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        spectra, grid = calibrator._calibrate(path, save_file=False, disable_info=True)
    return spectra, grid


def test_sampled_spectrum_agrees_with_calibrate(model, stars):
    path, chunk = stars
    theirs, grid = calibrated(path)
    np.testing.assert_array_equal(model.wavelength, grid)
    np.testing.assert_array_equal(model.wavelength, WAVELENGTH)
    ours = sample_spectra(model, chunk.coefficients, chunk.present)
    expected = np.stack(theirs["flux"])
    assert chunk.present.all(axis=1).tolist() == [True, False, True]
    # Up to 635 nm there is BP alone.
    assert np.isnan(expected[1, WAVELENGTH <= 635]).all()
    assert np.isfinite(expected).sum() == 3 * 343 - 150
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=0)


def test_star_without_rp_agrees_with_calibrate(model, stars, tmp_path):
    path, _ = stars
    lines = path.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("source_id"))
    names = lines[first].split(",")
    cells = lines[first + 1].split('"')
    # After the third list (BP's correlations) come two scalars of BP, then RP.
    bp_end = cells[6].split(",")[:3]
    missing = ["nan" if name.endswith(("deviation", "squared")) else "" for name in names[14:]]
    row = '"'.join(cells[:6]) + '"' + ",".join([*bp_end, *missing])
    # GaiaXPy wants another star that has both, to know the types.
    copy = tmp_path / "no_rp.ecsv"
    copy.write_text("\n".join([*lines[: first + 1], row, lines[first + 3]]) + "\n")
    chunk = next(read_xp(copy))
    assert chunk.present.tolist() == [[True, False], [True, True]]
    theirs, _ = calibrated(copy)
    ours = sample_spectra(model, chunk.coefficients, chunk.present)
    assert np.isnan(ours[0, WAVELENGTH >= 643]).all()
    np.testing.assert_allclose(ours, np.stack(theirs["flux"]), rtol=1e-10, atol=0)


def test_covariance_and_sampled_errors_agree_with_gaiaxpy(model, stars):
    internal = pytest.importorskip("gaiaxpy.file_parser.parse_internal_continuous")
    path, chunk = stars
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        frame, _ = internal.InternalContinuousParser().parse_file(str(path))
    both = chunk.present.all(axis=1)
    for band, name in enumerate(BANDS):
        theirs = np.stack(list(frame[f"{name}_covariance_matrix"][both]))
        np.testing.assert_allclose(covariance(chunk, band)[both], theirs, rtol=1e-12)
    # The error of a flux, where BP stands alone, follows from them by hand.
    spectra, _ = calibrated(path)
    alone = WAVELENGTH < 635
    scaled = covariance(chunk, 0)[0] * chunk.standard_deviation[0, 0] ** 2
    variance = np.einsum("ij,jk,ik->i", model.bp[alone], scaled, model.bp[alone])
    np.testing.assert_allclose(np.sqrt(variance), spectra["flux_error"][0][alone], rtol=1e-10)


def test_nan_in_a_band_does_not_become_a_number(model, stars):
    _, chunk = stars
    coefficients = chunk.coefficients.copy()
    coefficients[0, 54] = np.nan
    flux = sample_spectra(model, coefficients, chunk.present)
    assert np.isnan(flux[0]).all()
    assert np.isfinite(flux[2]).all()


def test_float32_stays_float32(model, stars):
    _, chunk = stars
    single = sample_spectra(model, chunk.coefficients.astype(np.float32), chunk.present)
    double = sample_spectra(model, chunk.coefficients, chunk.present)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single[0], double[0], rtol=1e-5)


def test_other_sizes_and_missing_correlations_are_told(model, stars):
    path, chunk = stars
    with pytest.raises(InputError, match="109 coefficients, the instrument model"):
        sample_spectra(model, chunk.coefficients[:, 1:], chunk.present)
    with pytest.raises(InputError, match="correlations=True"):
        covariance(next(read_xp(path)), 0)


def test_without_gaiaxpy_the_message_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "gaiaxpy.core.config", None)
    with pytest.raises(InputError, match=r'pip install .*"GaiaXPy>=2\.1\.5"'):
        instrument_model.__wrapped__()
