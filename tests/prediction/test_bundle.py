from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.prediction.bundle import BundleInfo, check_spectra, load_bundle, save_bundle
from aspgap_jax.prediction.labelling import LabelOptions, label_stars
from aspgap_jax.prediction.predict import Bundle, without_spectra
from support.trusted_bundle import CFG, batch_of, made_up_set, trusted_bundle


@pytest.fixture(scope="module")
def made() -> tuple[Bundle, BundleInfo]:
    return trusted_bundle(made_up_set())


@pytest.fixture
def folder(made: tuple[Bundle, BundleInfo], tmp_path: Path) -> Path:
    save_bundle(tmp_path / "bundle", *made)
    return tmp_path / "bundle"


def test_a_bundle_comes_back_bit_for_bit(made: tuple[Bundle, BundleInfo], folder: Path) -> None:
    for path in (folder, folder.parent):
        bundle, info = load_bundle(path)
        assert info == made[1]
        assert jax.tree.structure(bundle) == jax.tree.structure(made[0])
        for a, b in zip(jax.tree.leaves(bundle), jax.tree.leaves(made[0]), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_without_spectra_the_labels_are_the_same(
    made: tuple[Bundle, BundleInfo], folder: Path, tmp_path: Path
) -> None:
    bundle, info = made
    save_bundle(tmp_path / "slim", without_spectra(bundle), replace(info, whole=False))
    slim, slim_info = load_bundle(tmp_path / "slim")
    assert not slim_info.whole
    assert slim.decoder is None
    assert slim.params.hallucinator is None
    batch, options = batch_of(made_up_set(), slice(9)), LabelOptions("sampled")
    for a, b in zip(
        label_stars(bundle, batch, CFG, options),
        label_stars(slim, batch, CFG, options),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_nothing_is_pickled(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            # Protocol 2 and later begin with PROTO, and all end with STOP.
            assert path.read_bytes()[:1] != b"\x80", path
            assert path.suffix not in (".pkl", ".pickle", ".npy")


def test_an_older_format_is_refused(folder: Path) -> None:
    path = folder / "bundle.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"format_version": 1}))
    with pytest.raises(InputError, match="a bundle of format 1, this version reads 2: train again"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "bundle.json").unlink(), "no finished bundle there"),
        (lambda d: (d / "bundle.json").write_text("{"), "no valid bundle description"),
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
