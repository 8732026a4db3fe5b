"""Studies on made-up runs: their numbers against formulas written here, and what fails how."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from scipy import stats

from aspgap_jax import suite
from aspgap_jax.catalogue.predictions import Predictions, write_predictions
from aspgap_jax.cli import main
from aspgap_jax.errors import InputError, TooFewStars
from aspgap_jax.labels import LABELS
from aspgap_jax.suite import Inputs, Missing, Result, Study
from aspgap_jax.suite.runner import check_externals, check_ids, json_ready, run_studies, validate
from aspgap_jax.suite.study import Drawn
from aspgap_jax.survey.store import write_training_store
from support.experiments import EXPERIMENTS, load_experiment
from support.external_files import (
    a23,
    galah,
    lamost_lrs,
    lamost_mrs,
    lmc_members,
    made_up_predictions,
    occam_members,
    orbit_catalogue,
    other_labels,
    write,
)
from support.made_up import made_up_stars
from support.pages import Page

N = 600
STUDIES = {study.name: study for study in suite.STUDIES}


def signals(seed: int = 8) -> dict[str, np.ndarray]:
    """S/N columns as `aspgap prepare` writes them."""
    rng = np.random.default_rng(seed)
    return {
        f"snr_{band}{part}": rng.lognormal(5, 0.7, N)
        for band in ("bp", "rp")
        for part in ("", "_low", "_high")
    }


@pytest.fixture(scope="module")
def stars() -> Predictions:
    ids = np.array([f"2M{number:016d}" for number in range(N)])
    return made_up_predictions(N, apogee_id=ids, **signals())


def run(name: str, predictions: Predictions, **external: Path) -> Result:
    """One study on stars and files alone."""
    return STUDIES[name].run(Inputs(Path("run"), predictions, external, draws=30))


def only_figures(result: Result, *stems: str) -> None:
    assert tuple(drawn.stem for drawn in result.figures) == stems
    assert all(isinstance(drawn.figure, Figure) for drawn in result.figures)


def test_figure01_counts_beyond_the_thresholds(stars: Predictions) -> None:
    found = run("figure01", stars).numbers
    row = found["RP"]["coefficients 1-10"]
    assert row["above_threshold"] == np.mean(stars.columns["snr_rp_low"] > 100)
    assert row["median"] == pytest.approx(np.percentile(stars.columns["snr_rp_low"], 50))
    assert "above_threshold" not in found["RP"]["coefficients 1-55"]


def test_figure05_and_06(stars: Predictions) -> None:
    found = run("figure05", stars).numbers
    d = (stars.prediction - stars.truth).astype(np.float64)
    assert found["all"]["teff"]["rms"] == pytest.approx(np.sqrt(np.mean(d[:, 0] ** 2)))
    bright = stars.g_mag < 14
    assert found["g_lt_14"]["m_h"]["outlier_rate"] == np.mean(np.abs(d[bright, 2]) > 0.15)
    sizes, sigma = np.abs(d[:, 1]), stars.sigma[:, 1].astype(np.float64)
    found = run("figure06", stars).numbers["logg"]
    assert found["rank_correlation_of_residual_and_sigma"] == pytest.approx(
        stats.spearmanr(sizes, sigma).statistic, abs=1e-3
    )
    worst = sizes[sigma >= np.quantile(sigma, 0.75)]
    assert found["rms_highest_quarter_of_sigma"] == pytest.approx(np.sqrt(np.mean(worst**2)))


def test_figure07_bins(stars: Predictions) -> None:
    result = run("figure07", stars)
    only_figures(result, "figure07_precision")
    red = stars.columns["snr_rp"]
    last = np.argsort(red)[-N // 10 :]
    d = (stars.prediction - stars.truth)[last, 3].astype(np.float64)
    found = result.numbers["RP, bin of highest S/N"]["alpha_m"]
    assert found["n"] == N // 10
    expected = {
        "snr": np.median(red[last]),
        "rms": np.sqrt(np.mean(d**2)),
        "mae": np.abs(d).mean(),
        "scatter": d.std(),
        "bias": d.mean(),
        "formal": np.median(stars.sigma[last, 3]),
    }
    assert {k: found[k] for k in expected} == pytest.approx(expected)
    assert len(result.numbers["curves"]["BP"]["teff"]["rms"]) == 10
    inside = (red > 600) & (red < 1000)
    assert result.numbers["RP S/N 600-1000"]["teff"]["n"] == inside.sum()
    assert result.paper["RP S/N 600-1000"]["teff"]["scatter"] == "40"


def test_figure08_fit_and_coverage(stars: Predictions) -> None:
    found = run("figure08", stars).numbers["m_h"]
    error = np.hypot(stars.sigma[:, 2], stars.truth_error[:, 2])
    chi = (stars.truth[:, 2] - stars.prediction[:, 2]) / error
    mean, sigma = stats.norm.fit(chi.astype(np.float64))
    assert (found["mean"], found["sigma"]) == pytest.approx((mean, sigma), rel=1e-4)
    assert found["coverage_68"] == np.mean(np.abs(chi) < 1)
    assert found["coverage_95"] == np.mean(np.abs(chi) < 1.959964)


def test_figure09_ranks(stars: Predictions) -> None:
    found = run("figure09", stars).numbers["teff"]
    expected = stats.spearmanr(stars.sigma[:, 0], stars.columns["snr_rp"]).statistic
    assert found["rank_correlation_of_sigma_and_snr"] == pytest.approx(expected, abs=1e-6)


def test_table03_counts(stars: Predictions) -> None:
    result = run("table03", stars)
    only_figures(result, "figure18_disks")
    found = result.numbers
    disk = (stars.truth[:, 2] > -0.9) & (stars.truth[:, 2] < 0)
    line = found["dividing_line"]

    def high(values: np.ndarray) -> np.ndarray:
        return values[disk, 3] > line["intercept"] + line["slope"] * values[disk, 2]

    truth, called = high(stars.truth), high(stars.prediction)
    assert found["stars"] == disk.sum()
    assert found["confusion"]["high alpha"]["called_low"] == (truth & ~called).sum()
    assert found["classes"]["high"]["precision"] == np.mean(truth[called])
    assert found["classes"]["low"]["recall"] == np.mean(~called[~truth])
    n = called.sum()
    p = np.mean(truth[called])
    error = np.sqrt(p * (1 - p) / n)
    assert found["classes"]["high"]["precision_error"] == pytest.approx(error, rel=0.5)
    # A higher line calls fewer stars high: recall falls.
    moved = found["with_the_line_moved"]
    assert moved["+0.02 dex"]["high_recall"] <= moved["-0.02 dex"]["high_recall"]


def test_plausibility_finds_a_shifted_clump() -> None:
    rng = np.random.default_rng(2)
    p = made_up_predictions(3000)
    p.truth[:, 0] = 4800
    p.truth[:, 1] = rng.normal(2.4, 0.1, 3000)
    p.prediction[:, 1] = p.truth[:, 1] + 0.1
    result = run("plausibility", p)
    only_figures(result, "plausibility_planes", "plausibility_red_clump")
    clump = result.numbers["red_clump"]
    assert clump["log_g_apogee"] == pytest.approx(2.4, abs=0.02)
    assert clump["difference"] == pytest.approx(0.1, abs=0.006)
    assert 0 < clump["log_g_apogee_error"] < 0.02


def test_figures_13_and_19(stars: Predictions, tmp_path: Path) -> None:
    path = a23(tmp_path / "a23.fits", stars)
    result = run("figure13", stars, a23=path)
    only_figures(result, "figure13_a23")
    d = stars.prediction.astype(np.float64) - other_labels(stars)
    row = result.numbers["all stars"]["logg"]
    assert (row["scatter"], row["bias_median"]) == pytest.approx(
        (d[:, 1].std(), np.median(d[:, 1]))
    )
    best = (stars.sigma[:, :3] < [50, 0.1, 0.1]).all(axis=1)
    assert 0 < best.sum() < N
    assert result.numbers["high quality"]["m_h"]["rms"] == pytest.approx(
        np.sqrt(np.mean(d[best, 2] ** 2))
    )
    assert result.numbers["cuts"]["stars in common"] == N
    assert result.paper["all stars"]["teff"] == {"scatter": "73", "bias_median": "7"}
    bright = stars.columns["snr_rp"] > 1000
    assert result.numbers["RP S/N > 1000"]["teff"]["bias"] == pytest.approx(d[bright, 0].mean())
    placed = made_up_predictions(N, l=np.zeros(N), b=np.linspace(-90, 90, N))
    found = run("figure19", placed, a23=path).numbers
    near = np.abs(placed.columns["b"]) < 10
    assert found["|b| < 10 deg"]["teff"]["n"] == near.sum()
    assert found["|b| < 10 deg"]["teff"]["scatter"] == pytest.approx(d[near, 0].std())


def test_figure14_takes_the_surveys_that_are_given(stars: Predictions, tmp_path: Path) -> None:
    files = {
        "lamost_lrs": lamost_lrs(tmp_path / "lrs.fits", stars),
        "lamost_mrs": lamost_mrs(tmp_path / "mrs.fits", stars),
        "galah": galah(tmp_path / "galah.fits", stars),
    }
    found = run("figure14", stars, **files).numbers
    d = stars.prediction.astype(np.float64) - other_labels(stars, 3)
    row = found["LAMOST MRS, all stars"]["alpha_m"]
    assert (row["n"], row["scatter"]) == (N - 10, pytest.approx(d[: N - 10, 3].std()))
    d = stars.prediction.astype(np.float64) - other_labels(stars, 4)
    assert found["GALAH, all stars"]["teff"]["bias"] == pytest.approx(d[:, 0].mean())
    alone = run("figure14", stars, galah=files["galah"])
    assert alone.notes[-1] == "Not given: LAMOST LRS, LAMOST MRS."


def test_another_catalogue_with_one_label(stars: Predictions, tmp_path: Path) -> None:
    path = write(tmp_path / "o.csv", {"source_id": stars.source_id, "fe_h": stars.truth[:, 2]})
    with pytest.raises(InputError, match="source_id does not tell of which release its ids are"):
        run("comparison_other", stars, other=path)
    told = check_ids([], ["other=dr3"], [], ["other"])
    inputs = Inputs(Path("run"), stars, {"other": path}, draws=30, ids=told)
    found = STUDIES["comparison_other"].run(inputs).numbers
    assert inputs.remarks.lines == (f"{path}: {N} of {N} stars are among its {N}",)
    d = (stars.prediction - stars.truth)[:, 2]
    assert list(found["all stars"]) == ["m_h"]
    assert found["all stars"]["m_h"]["rms"] == pytest.approx(np.sqrt(np.mean(d**2)), rel=1e-5)
    assert set(found) == {"cuts", "all stars", "high quality", "|b| < 10 deg", "|b| > 30 deg"}


def test_figure15_joins_clusters_by_name(stars: Predictions, tmp_path: Path) -> None:
    ids = stars.columns["apogee_id"][:13]
    cluster = np.array(["NGC_6791"] * 8 + ["M 67"] * 3 + ["unknown"] * 1 + ["M 67"])
    files = {
        "cluster_members": occam_members(tmp_path / "m.fits", ids, cluster),
        "clusters": write(
            tmp_path / "c.csv",
            {"NAME": np.array(["NGC 6791", "m67"]), "FE_H": np.array([0.3, 0.0])},
        ),
    }
    result = run("figure15", stars, **files)
    moh = stars.prediction[:, 2].astype(np.float64)
    # The last star is no member by its probabilities, the one before has no literature.
    differences = np.array([moh[:8].mean() - 0.3, moh[8:11].mean()])
    found = result.numbers["all clusters"]["XP"]
    assert found["clusters"] == 2
    assert found["within_0.2_dex"] == np.sum(np.abs(differences) < 0.2)
    assert found["largest_difference"] == pytest.approx(np.abs(differences).max())
    many = result.numbers["5 members or more"]["XP"]
    assert many["clusters"] == 1
    assert many["median_scatter_inside"] == pytest.approx(moh[:8].std(ddof=1))
    assert result.numbers["each cluster, APOGEE"]["m67"]["mean"] == pytest.approx(
        stars.truth[8:11, 2].astype(np.float64).mean()
    )
    with pytest.raises(InputError, match=r"m\.fits: none of its 12 members is among the 579 stars"):
        run("figure15", stars.where(np.arange(N) > 20), **files)
    write(files["clusters"], {"NAME": np.array(["Pleiades"]), "FE_H": np.array([0.0])})
    with pytest.raises(InputError, match=r"c\.csv: has none of the clusters .* ngc6791"):
        run("figure15", stars, **files)


def test_figure16_from_an_orbit_catalogue(stars: Predictions, tmp_path: Path) -> None:
    path = orbit_catalogue(tmp_path / "orbits.fits", stars)
    result = run("figure16", stars, orbits=path)
    only_figures(result, "figure16_orbits")
    table = Table.read(path)
    moh, aom = stars.truth[:, 2], stars.truth[:, 3]
    inside = (moh > -0.7) & (moh < -0.5)
    found = result.numbers["root_j_z, -0.7 < [M/H] < -0.5"]["APOGEE"]
    root = np.sqrt(np.asarray(table["Jz"]))
    high = aom > 0.12 - 0.08 * moh
    expected = root[inside & high].mean() - root[inside & ~high].mean()
    assert found["high_minus_low"] == pytest.approx(expected, rel=1e-5)
    assert found["high_minus_low"] > 5 * found["high_minus_low_error"] > 0
    l_z = result.numbers["l_z, -0.7 < [M/H] < -0.5"]["APOGEE"]
    low = inside & (aom > 0.05) & (aom < 0.1)
    bin_ = int(np.argmin(np.abs(np.array(l_z["alpha_m"]) - 0.075)))
    assert l_z["n"][bin_] == low.sum()
    assert l_z["mean"][bin_] == pytest.approx(np.asarray(table["Lz"])[low].mean())


def test_orbits_from_gaia_keep_precise_parallaxes(
    stars: Predictions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from aspgap_jax.suite import orbits as study
    from aspgap_jax.validation.dynamics import Orbits, PhaseSpace

    seen: list[PhaseSpace] = []

    def fake(phase: PhaseSpace) -> Orbits:
        seen.append(phase)
        return Orbits(*[np.ones(len(phase.ra))] * 5)

    monkeypatch.setattr(study, "orbits", fake)
    parallax = np.where(np.arange(N) % 2 == 0, 1.0, -1.0)
    columns: dict[str, Any] = dict.fromkeys(
        ("ra", "dec", "pmra", "pmdec", "radial_velocity"), np.ones(N)
    )
    columns |= {"parallax": parallax, "parallax_error": np.full(N, 0.1)}
    columns["radial_velocity"] = np.where(np.arange(N) < 10, np.nan, 1.0)
    p, orbit = study.star_orbits(Inputs(Path("run"), made_up_predictions(N, **columns)))
    expected = np.flatnonzero((parallax > 0) & (np.arange(N) >= 10))
    assert (p.source_id == made_up_predictions(N).source_id[expected]).all()
    assert len(orbit.l_z) == len(expected) == len(seen[0].ra)
    table = write(tmp_path / "gaia.csv", {"source_id": stars.source_id} | columns)
    again, _ = study.star_orbits(Inputs(Path("run"), stars, {"gaia": table}))
    assert (np.sort(again.source_id) == np.sort(p.source_id)).all()


def test_figure17_all_three(stars: Predictions, tmp_path: Path) -> None:
    files = {
        "orbits": orbit_catalogue(tmp_path / "o.fits", stars),
        "lmc": lmc_members(tmp_path / "lmc.fits", stars),
    }
    result = run("figure17", stars, **files)
    only_figures(result, "figure17_halo")
    sigma, prediction = stars.sigma, stars.prediction
    precise = (sigma[:, 2] < 0.1) & (sigma[:, 3] < 0.05) & (prediction[:, 1] < 2)

    def below(values: np.ndarray, keep: np.ndarray) -> float:
        return float(np.mean(values[keep, 3] <= 0.12 - 0.08 * values[keep, 2]))

    member = (np.arange(N) % 3 == 0) & precise
    found = result.numbers["LMC"]
    assert found["XP"]["n"] == member.sum()
    assert found["XP"]["below"] == pytest.approx(below(prediction, member))
    assert found["APOGEE"]["below"] == pytest.approx(below(stars.truth, member))
    table = Table.read(files["orbits"])
    ges = (table["Energy"] > -1.2e5) & (np.abs(table["Lz"]) < 500) & precise
    assert result.numbers["GES"]["XP"]["n"] == np.sum(ges)
    poor = prediction[:, 2] < -1.1
    loose = (table["ecc"] > 0.75) & (table["Rapo"] > 10)
    heart = result.numbers["Poor Old Heart"]
    assert heart["loose and radial"]["n"] == np.sum(poor & loose)
    assert heart["bound"]["below"] == pytest.approx(below(prediction, np.asarray(poor & ~loose)))
    # Limited to a catalogue of half of the stars.
    half = write(tmp_path / "h.csv", {"source_id": stars.source_id[::2]})
    limited = run("figure17", stars, poor_old_heart=half, **files).numbers["Poor Old Heart"]
    assert limited["bound"]["n"] == np.sum((poor & ~loose)[::2])
    alone = run("figure17", stars, lmc=files["lmc"])
    assert "GES" not in alone.numbers
    assert alone.notes[0].startswith("Not run: Poor Old Heart and GES: needs --external orbits")


@pytest.mark.parametrize("name", ["figure02", "figure05", "figure06", "figure07", "figure08"])
def test_a_run_without_truth(stars: Predictions, name: str) -> None:
    with pytest.raises(Missing, match="needs reference labels"):
        run(name, replace(stars, truth=np.full_like(stars.truth, np.nan)))


@pytest.mark.parametrize("name", ["figure13", "figure14", "figure15", "figure16", "figure17"])
def test_what_is_lacking_is_said(stars: Predictions, name: str) -> None:
    with pytest.raises(Missing, match=r"needs --external \w+=FILE"):
        run(name, stars)


def test_sampled_spectra_of_a_store(tmp_path: Path) -> None:
    """S/N of samples, of the run's own stars in the run's own order."""
    made = made_up_stars(60, n_xp=20)
    wavelength = np.linspace(400.0, 1000.0, 20)
    write_training_store(tmp_path / "store.h5", replace(made, wavelength=wavelength))
    settings = {"data": str(tmp_path / "store.h5"), "select": "usable"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    rows = np.random.default_rng(0).permutation(60)[:40]
    p = made_up_predictions(40)
    p.source_id[:] = made.source_id[rows]
    inputs = Inputs(tmp_path, p)
    signal = suite.cross_validation.run_signal(inputs)
    assert not signal.coefficients
    xp, error = (each[rows].astype(np.float64) for each in (made.xp, made.xp_error))
    blue = wavelength < 640
    expected = np.linalg.norm(xp[:, blue], axis=1) / np.linalg.norm(error[:, blue], axis=1)
    np.testing.assert_allclose(signal.whole("BP"), expected, rtol=1e-6)
    result = STUDIES["figure01"].run(inputs)
    assert "not the paper's S/N of coefficients" in result.notes[0]
    p.source_id[0] = 1
    with pytest.raises(Missing, match="has not all of its stars"):
        _ = Inputs(tmp_path, p).stars
    with pytest.raises(Missing, match=r"config\.json does not name them"):
        _ = Inputs(tmp_path / "nowhere", p).stars


def broken(_: Inputs) -> Result:
    raise ZeroDivisionError("no stars\nsecond line")


def damaged(_: Inputs) -> Result:
    raise InputError("file.fits: no column x")


OURS = ("figure02", "figure05", "figure08", "table03", "figure13")


@pytest.fixture(scope="module")
def validated(
    stars: Predictions, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, bool]:
    folder = tmp_path_factory.mktemp("run")
    write_predictions(folder / "predictions.h5", stars)
    extra = [Study(f.__name__, f"Study {f.__name__}", "", f) for f in (broken, damaged)]
    text, whole = validate(folder, studies=[*extra, *(STUDIES[name] for name in OURS)], draws=20)
    return folder, text, whole


def test_one_failing_study_does_not_stop_the_others(validated: tuple[Path, str, bool]) -> None:
    folder, text, whole = validated
    assert not whole
    assert "failed    broken: ZeroDivisionError: no stars\n" in text
    assert "failed    damaged: file.fits: no column x\n" in text
    assert "not run   figure13: needs --external a23=FILE (Andrae et al. 2023" in text
    written = json.loads((folder / "validation.json").read_text())
    assert list(written) == [
        "figure02",
        "figure05",
        "figure08",
        "table03",
        "not_run",
        "failed",
        "remarks",
    ]
    assert list(written["failed"]) == ["broken", "damaged"]


def test_the_page_shows_the_numbers_and_the_papers(
    validated: tuple[Path, str, bool], stars: Predictions
) -> None:
    folder = validated[0]
    page = Page(folder / "validation.html")
    d = (stars.prediction - stars.truth).astype(np.float64)
    rms = [f"{np.sqrt(np.mean(d[:, j] ** 2)):.4g}" for j in range(4)]
    for label, value, printed in zip(LABELS, rms, ("48", "0.12", "0.07", "0.03"), strict=True):
        (row,) = (
            r
            for r in page.rows
            if r[0].startswith(f"{label.plain} [") and r[1:2] == [f"{N}"] and len(r) > 9
        )
        assert row[2:4] == [value, printed]
    disks = next(r for r in page.rows if r[0] == "high" and "0.93" in r)
    numbers = json.loads((folder / "validation.json").read_text())["table03"]["classes"]["high"]
    assert disks[1] == f"{numbers['precision']:.4g}"
    text = "".join(page.text)
    assert "Not run: what it needs" in text
    assert "ZeroDivisionError" in text
    for stem in ("figure02_training_set", "figure05_one_to_one", "figure08_chi", "figure18_disks"):
        assert (folder / "figures" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "figures" / f"{stem}.pdf").read_bytes().startswith(b"%PDF-")


def test_the_command(
    stars: Predictions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from aspgap_jax.suite import runner

    asked: list[Any] = []

    def fake(folder: Path, external: Any, **options: Any) -> tuple[str, bool]:
        asked.append((folder, external, options))
        return "text", len(asked) == 1

    monkeypatch.setattr(runner, "validate", fake)
    monkeypatch.chdir(tmp_path)
    for name in ("x.fits", "y.fits"):
        Path(name).touch()
    line = ["validate", str(tmp_path), "--external", "a23=x.fits", "--external", "lmc=y.fits"]
    assert main(line) == 0
    assert asked[0][1] == {"a23": Path("x.fits"), "lmc": Path("y.fits")}
    assert main([*line, "--draws", "7"]) == 1
    assert asked[1][2] == {"seed": 0, "draws": 7, "ids": {}, "compare": None}
    for wrong, words in (
        ("a23", "write NAME=FILE"),
        ("nonsense=x", "no such name; one of a23, "),
        ("galah=nowhere.fits", "--external galah: nowhere.fits: no such file"),
        ("a23=x.fits/y", "--external a23: x.fits/y: no such file"),
    ):
        assert main(["validate", str(tmp_path), "--external", wrong]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(InputError, match="a23: given twice"):
        check_externals(["a23=x.fits", "a23=y.fits"])


def test_no_predictions_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path)]) == 2
    assert "predictions.h5: no readable HDF5 file" in capsys.readouterr().err


def test_json_has_no_nan() -> None:
    value = {
        "a": np.float32(1.5),
        2: [np.nan, np.int64(3)],
        "b": np.array([np.inf, 0.0]),
        "c": None,
    }
    found = json_ready(value)
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "a": 1.5,
        "2": [None, 3],
        "b": [None, 0.0],
        "c": None,
    }


def test_names_of_studies_are_unique_and_told(stars: Predictions, tmp_path: Path) -> None:
    assert len(STUDIES) == len(suite.STUDIES)
    drawn = Drawn("x", Figure(), "")
    study = Study("x", "X", "", lambda _: Result({"n": np.int64(3)}, (drawn,)))
    outcome = run_studies(Inputs(tmp_path, stars), [study])
    ((done, written),) = outcome.done
    assert done is study
    assert written.numbers == {"n": 3}
    assert (tmp_path / "figures/x.png").is_file()


def unwritable(_: Inputs) -> Result:
    return Result({"n": 1}, (Drawn("no/such\0file", Figure(), ""),))


def unfinished(_: Inputs) -> Result:
    figure = Figure()
    figure.text(0.5, 0.5, "$\\nosuchcommand$")
    return Result({"n": 1}, (Drawn("unfinished", figure, ""),))


def too_small(_: Inputs) -> Result:
    raise TooFewStars("7 stars, 20 are needed")


def test_what_cannot_be_written_costs_no_other_study(stars: Predictions, tmp_path: Path) -> None:
    studies = [Study(f.__name__, f.__name__, "", f) for f in (unwritable, unfinished, too_small)]
    outcome = run_studies(Inputs(tmp_path, stars, draws=20), [*studies, STUDIES["figure05"]])
    assert [study.name for study, _ in outcome.failed] == ["unwritable", "unfinished"]
    assert [study.name for study, _ in outcome.missing] == ["too_small"]
    assert [study.name for study, _ in outcome.done] == ["figure05"]


NUMBERS: dict[str, Any] = {"stars": 7, "all": {"teff": {"rms": 50.0}}, "curve": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paper": {"all": "shown, no number given"}}, "paper.all: 'shown, no number given' is no"),
        ({"paper": {"all": "48"}}, "paper.all: one number, where the numbers have a group"),
        ({"paper": {"curve": "48"}}, "paper.curve: one number, where the numbers have a group"),
        ({"paper": {"stars": {"all": "142,130"}}}, "paper.stars: a group, where the numbers"),
        ({"paper": {"all": {"teff": {"mae": "48"}}}}, "paper.all.teff.mae: there is no such"),
        ({"paper": {"all": {"teff": {"rms": 48.0}}}}, "paper.all.teff.rms: 48.0 is no printed"),
        ({"words": {"every": "as expected"}}, "words: there is no every"),
        ({"numbers": {"all": {1: 2.0}}}, "numbers.all: the key 1 is no text"),
        ({"numbers": {"all": [object()]}}, "numbers.all: object is no number, list or mapping"),
        ({"figures": (Drawn("a", Figure(), ""),) * 2}, "figures: a, a: one of them twice"),
    ],
)
def test_a_result_that_does_not_fit_together_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Result(**{"numbers": NUMBERS} | changes)


def test_a_result_that_fits_together() -> None:
    paper = {"stars": "142,130", "all": {"teff": {"rms": "48"}}}
    found = Result(NUMBERS, paper=paper, words={"all": "as expected"})
    assert (found.paper, found.words) == (paper, {"all": "as expected"})
    with pytest.raises(FrozenInstanceError):
        found.paper = {}  # type: ignore[misc]


@pytest.mark.parametrize(
    "script",
    sorted(
        str(p.relative_to(EXPERIMENTS))
        for p in EXPERIMENTS.rglob("*.py")
        if "script.run(" in p.read_text()
    ),
)
def test_each_script_runs_its_study(
    script: str, stars: Predictions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script names a study that exists, and its docstring says how to run it."""
    text = (EXPERIMENTS / script).read_text()
    called: list[str] = []
    monkeypatch.setattr("aspgap_jax.suite.script.run", called.append)
    load_experiment(script.removesuffix(".py"))
    assert called[0] in STUDIES
    for word in (f"Run: python experiments/{script}", "Expect"):
        assert word in text


def test_a_script_prints_numbers_and_writes_figures(
    stars: Predictions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from aspgap_jax.suite import script

    write_predictions(tmp_path / "predictions.h5", stars)
    out = tmp_path / "out"
    assert script.main("figure08", ["--run", str(tmp_path), "--out", str(out)]) == 0
    assert '"coverage_68"' in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == [
        *("figure08.json", "figure08_chi.pdf", "figure08_chi.png", "figure08_chi_narrow.png")
    ]
    assert script.main("figure13", ["--run", str(tmp_path)]) == 2
    assert "figure13: needs --external a23=FILE" in capsys.readouterr().err
