"""The studies of Fig. 4 and of the causality of [alpha/M], on a small run of made-up giants."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aspgap_jax.labels import index, names
from aspgap_jax.prediction.bundle import released_bundle
from aspgap_jax.suite import STUDIES, Inputs, Missing, Result, open_inputs
from aspgap_jax.suite.causality import DIFFERENCE, pairs_of, reddening
from aspgap_jax.suite.gradients import BY
from aspgap_jax.suite.runner import json_ready

ALPHA = index("alpha_m")


@pytest.fixture(scope="module")
def inputs(small_run: Path) -> Inputs:
    return open_inputs(small_run, draws=20)


def study(name: str, inputs: Inputs) -> Result:
    found = next(study for study in STUDIES if study.name == name).run(inputs)
    json.dumps(json_ready(found.numbers))
    assert found.figures
    return found


def test_alpha_information(inputs: Inputs) -> None:
    numbers = study("alpha_information", inputs).numbers
    tests = numbers["conditional_permutation"]
    assert list(tests) == [
        "other labels",
        "other labels, also AspGap's",
        "other labels, colour and G",
    ]
    for by_name in tests.values():
        # What is a function of the conditions knows nothing beyond them.
        floor = by_name["function of APOGEE's other labels"]
        assert abs(floor["correlation"]) < 2 * floor["chance"]
        assert by_name["AspGap"]["n_stars"] == len(inputs.predictions)
    p = inputs.predictions
    pairs = pairs_of(p, reddening(p))
    change = p.prediction[pairs[:, 1], ALPHA] - p.prediction[pairs[:, 0], ALPHA]
    assert numbers["matched_pairs"]["AspGap"]["n_pairs"] == len(pairs) > 20
    assert numbers["matched_pairs"]["AspGap"]["right"] == (change > 0).mean()
    # These spectra do carry [alpha/M]; networks of eight epochs know at least its sign.
    assert numbers["matched_pairs"]["AspGap"]["p_value"] < 0.05


def test_pairs_agree_in_all_but_alpha(inputs: Inputs) -> None:
    p = inputs.predictions
    pairs = pairs_of(p, reddening(p))
    difference = p.truth[pairs[:, 1]] - p.truth[pairs[:, 0]]
    assert (np.abs(difference[:, :3]) <= [30.0, 0.1, 0.05]).all()
    assert (difference[:, 3] >= DIFFERENCE).all()


def test_alpha_attribution(inputs: Inputs) -> None:
    numbers = study("alpha_attribution", inputs).numbers
    total = numbers["broad"] + numbers["features"]
    slack = 4 * numbers["completeness_error_rms"]
    assert total == pytest.approx(numbers["predicted_change"], abs=slack)
    assert numbers["completeness_error_rms"] < 0.1 * abs(numbers["predicted_change"])
    assert numbers["true_change"] > DIFFERENCE
    assert set(numbers["bands"]) >= {"Mg b", "Na D", "Ca H&K"}


def test_attribution_needs_stars_that_a_network_has_not_seen(inputs: Inputs) -> None:
    whole = Inputs(inputs.folder, inputs.predictions, draws=5)
    networks, info = inputs.networks
    members = tuple(member._replace(fold=-1) for member in info.members)
    whole.__dict__["networks"] = (networks, replace(info, members=members))
    whole.__dict__["stars"] = inputs.stars
    with pytest.raises(Missing, match="stars that a network has not seen"):
        study("alpha_attribution", whole)


def test_residual_trends(inputs: Inputs) -> None:
    numbers = study("residual_trends", inputs).numbers
    assert list(numbers) == ["g_mag", "colour_excess", "galactic_latitude", "galactic_longitude"]
    p = inputs.predictions
    g = np.asarray(p.g_mag, np.float64)
    faintest = g >= np.quantile(g, 11 / 12)
    residual = (p.prediction[faintest].astype(np.float64) - p.truth[faintest]).mean(axis=0)
    found = [numbers["g_mag"]["labels"][name]["mean"][-1] for name in names()]
    np.testing.assert_allclose(found, residual, rtol=1e-6)
    assert numbers["g_mag"]["stars"] == len(p)


def test_figure_04(inputs: Inputs, shared: Path) -> None:
    data = shared / "data"
    files = {
        "kurucz": data / "apogee_emulator/kurucz_apogee_network.npz",
        "cannon": data / "apogee_cannon/cannon_apokasc_gc.npz",
    }
    if not all(path.is_file() for path in files.values()):
        pytest.skip(f"{data} lacks the models")
    numbers = study("figure04", replace(inputs, external=files)).numbers
    assert len(numbers["agreement"]) == 3 * 2 + 2
    for name in names():
        # Models of the same physics agree; that the run's networks do is not to be expected.
        for model in ("Kurucz", "Cannon"):
            physics = numbers["agreement"][f"synthesis {BY} {model}"][name]
            assert set(physics["lines"]) == {"Mg", "Si", "Ca", "Ti", "Fe", "OH", "CO", "CN"}
            if name in ("teff", "m_h"):
                assert physics["correlation"] > max(0.2, 2 * physics["chance"])
        assert 0.0 < numbers["visible_share"][name] < 1.0
    assert np.shape(numbers["moved"]["xp_decoder"]) == (4, 4)
    np.testing.assert_allclose(
        list(numbers["reference"].values()), np.median(inputs.stars.labels, 0)
    )
    spectra = numbers["spectra"]
    assert spectra["stars"] == 64
    physics = spectra[f"synthesis {BY} Cannon"]
    assert physics["lowest"] < physics["median"]
    assert physics["median"] > 0.7


def test_figure_04_needs_the_hallucinator(inputs: Inputs) -> None:
    without = Inputs(released_bundle(), inputs.predictions)
    with pytest.raises(Missing, match=r"needs the networks as trained.*hallucinator was left out"):
        study("figure04", without)
