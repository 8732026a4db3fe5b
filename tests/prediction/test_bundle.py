from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.prediction.bundle import (
    Bundle,
    BundleInfo,
    Networks,
    check_spectra,
    load_bundle,
    load_networks,
    released_bundle,
    save_bundle,
)
from support.bundles import CFG, WHITENED, bundle_of, made_up_set, networks_of


@pytest.fixture(scope="module")
def made() -> tuple[Bundle, BundleInfo]:
    return bundle_of(made_up_set(), cfg=WHITENED)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return networks_of(made_up_set(), WHITENED)


@pytest.fixture
def folder(made: tuple[Bundle, BundleInfo], networks: Networks, tmp_path: Path) -> Path:
    save_bundle(tmp_path / "bundle", *made, networks)
    return tmp_path / "bundle"


def assert_same(found: object, expected: object) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_bundle_comes_back_bit_for_bit(
    made: tuple[Bundle, BundleInfo], networks: Networks, folder: Path
) -> None:
    assert made[0].instrument.shape == (24, 0), "arrays without elements come back too"
    for path in (folder, folder.parent):
        bundle, info = load_bundle(path)
        assert info == made[1]
        assert_same(bundle, made[0])
        trained, info = load_networks(path)
        assert info == made[1]
        assert_same(trained, networks)


def test_what_only_predicts_has_no_networks(
    made: tuple[Bundle, BundleInfo], tmp_path: Path
) -> None:
    save_bundle(tmp_path / "slim", *made)
    assert_same(load_bundle(tmp_path / "slim")[0], made[0])
    for path in (tmp_path / "slim", released_bundle()):
        with pytest.raises(
            InputError, match=r"has only what predicts.*use the bundle of a run"
        ) as caught:
            load_networks(path)
        assert "\n" not in str(caught.value)


def test_shapes_come_from_the_files(made: tuple[Bundle, BundleInfo], tmp_path: Path) -> None:
    """Of networks that the config does not describe."""
    deeper = networks_of(
        made_up_set(), replace(CFG, model=replace(CFG.model, encoder=(5, 3), latent=2))
    )
    save_bundle(tmp_path / "other", *made, deeper)
    assert_same(load_networks(tmp_path / "other")[0], deeper)


def test_nothing_is_pickled(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            # Protocol 2 and later begin with PROTO, and all end with STOP.
            assert path.read_bytes()[:1] != b"\x80", path
            assert path.suffix not in (".pkl", ".pickle", ".npy")


def test_an_older_format_is_refused(folder: Path) -> None:
    path = folder / "bundle.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"format_version": 2}))
    with pytest.raises(InputError, match="a bundle of format 2, this version reads 6: train again"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "bundle.json").unlink(), "no finished bundle there"),
        (lambda d: (d / "bundle.json").write_text("{"), "no valid bundle description"),
        (lambda d: (d / "bundle.json").write_text("[]"), "no valid bundle description"),
        (lambda d: (d / "arrays" / "_METADATA").unlink(), "arrays cannot be read"),
    ],
)
def test_damage_is_named(folder: Path, damage: object, message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_bundle(folder)


def test_spectra_that_a_bundle_takes(made: tuple[Bundle, BundleInfo]) -> None:
    info = made[1]
    check_spectra(info, "sampled", 24)
    with pytest.raises(InputError, match="takes sampled spectra of 24 values, the input has"):
        check_spectra(info, "continuous", 110)
    both = replace(info, n_xp=343, n_coefficients=110)
    check_spectra(both, "sampled", 343)
    check_spectra(both, "continuous", 110)
    with pytest.raises(InputError, match="or continuous spectra of 110 values"):
        check_spectra(both, "continuous", 115)
