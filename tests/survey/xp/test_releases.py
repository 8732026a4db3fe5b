"""What differs by release: found in the file, or given; matrices that travel as files."""

from __future__ import annotations

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.xp import WAVELENGTH, read_xp
from aspgap_jax.survey.xp.instrument import (
    Instrument,
    as_sampled,
    read_instrument,
    write_instrument,
)
from aspgap_jax.survey.xp.releases import RELEASES, named_in, of_coefficients, release
from aspgap_jax.survey.xp.store import write_store
from support.xp_files import bulk_text, read_all, star, without, write_bulk
from support.xp_habits import noted, table_of


def of_basis(row, bp, rp):
    return row | {"bp_basis_function_id": bp, "rp_basis_function_id": rp}


def test_the_release_is_told_by_coefficients_and_their_basis(tmp_path):
    path = tmp_path / "a.csv.gz"
    assert read_all(write_bulk(path, [star(1), star(2)])).release == "dr3"
    assert read_all(write_bulk(path, [without(star(1), "bp"), star(2)])).release == "dr3"
    # As many coefficients, but of another basis, or of two.
    assert read_all(write_bulk(path, [of_basis(star(1), 60, 61)])).release == ""
    assert read_all(write_bulk(path, [star(1), of_basis(star(2), 60, 57)])).release == ""
    assert read_all(write_bulk(path, [star(1, sizes=(60, 50))])).release == ""


@pytest.mark.parametrize("where", ["name", "comment", "keyword"])
def test_the_file_may_say_its_release(tmp_path, where):
    rows = [star(1, sizes=(60, 50))]
    path = tmp_path / ("XP_CONTINUOUS-Gaia DR4 1.csv" if where == "name" else "a.csv")
    if where == "keyword":
        table = table_of(rows)
        table.meta["ORIGIN"] = "Gaia DR4"
        table.write(path, format="fits")
    else:
        text = bulk_text(rows)
        said = "# ---\n# comment: gaiadr4.xp\n"
        path.write_text(text.replace("# ---\n", said) if where == "comment" else text)
    assert read_all(path).release == "dr4"


def test_what_is_given_counts_and_contradictions_are_told(tmp_path):
    path = write_bulk(tmp_path / "a.csv.gz", [star(1)])
    assert read_all(path, release="dr4").release == "dr4"
    with pytest.raises(InputError, match="no Gaia release 'dr9'; known: dr3, dr4"):
        list(read_xp(path, release="dr9"))
    other = write_bulk(tmp_path / "Gaia DR3 sample.csv.gz", [star(1, sizes=(60, 50))])
    assert read_all(other).release == ""
    both = write_bulk(tmp_path / "Gaia DR3 and Gaia DR4.csv.gz", [star(1)])
    with pytest.raises(InputError, match=r"speaks of Gaia DR3 AND DR4.* --release"):
        noted(both)
    assert read_all(both, release="dr3").release == "dr3"


def test_a_store_keeps_the_release(tmp_path):
    chunk = read_all(write_bulk(tmp_path / "a.csv.gz", [star(1, sizes=(60, 50))]), release="dr4")
    with write_store(tmp_path / "s.h5") as store:
        store.append(chunk)
    assert read_all(tmp_path / "s.h5").release == "dr4"
    assert read_all(tmp_path / "s.h5", release="dr3").release == "dr3"


def test_the_table():
    assert of_coefficients((55, 55), (56, 57)) == "dr3"
    assert of_coefficients((55, 55), (None, 57)) == "dr3"
    assert of_coefficients((55, 55), (57, 56)) == ""
    assert named_in(["gaiaedr3.x", "Gaia DR3", "gaia_dr2_id", "dr4", "Gaia-DR4"]) == ("dr3", "dr4")
    assert release("DR4").matrix is None
    assert all(name == row.name for name, row in RELEASES.items())


def made_up(n_bp=60, n_rp=50):
    """A matrix whose bands overlap as Gaia's do, BP below 643 nm, RP above 635."""
    matrix = np.random.default_rng(3).normal(0, 1e-18, (len(WAVELENGTH), n_bp + n_rp))
    matrix[WAVELENGTH >= 643, :n_bp] = 0.0
    matrix[WAVELENGTH <= 635, n_bp:] = 0.0
    return Instrument("dr4", n_bp, matrix)


def test_samples_and_their_errors_are_those_by_hand(tmp_path):
    rows = [star(n, sizes=(60, 50)) for n in (1, 2)]
    chunk = read_all(write_bulk(tmp_path / "a.csv.gz", rows))
    matrix = made_up()
    sampled = as_sampled(chunk, matrix)
    assert (sampled.representation, sampled.n_bp, sampled.present.shape) == ("sampled", 0, (2, 0))
    for n, row in enumerate(rows):
        values = [*row["bp_coefficients"], *row["rp_coefficients"]]
        errors = [*row["bp_coefficient_errors"], *row["rp_coefficient_errors"]]
        flux = [sum(a * v for a, v in zip(line, values, strict=True)) for line in matrix.matrix]
        np.testing.assert_allclose(sampled.coefficients[n], flux, rtol=1e-9)
        variance = sum((matrix.matrix[:, k] * float(e)) ** 2 for k, e in enumerate(errors))
        np.testing.assert_allclose(sampled.errors[n], np.sqrt(variance), rtol=1e-6)


def test_a_missing_band_leaves_no_samples_where_it_contributes(tmp_path):
    rows = [star(1, sizes=(60, 50)), without(star(2, sizes=(60, 50)), "rp") | {"source_id": 2}]
    sampled = as_sampled(read_all(write_bulk(tmp_path / "a.csv.gz", rows)), made_up())
    assert sampled.finite[0].all()
    np.testing.assert_array_equal(sampled.finite[1], WAVELENGTH <= 635)


def test_a_matrix_travels_as_a_file_and_fits_or_not(tmp_path):
    write_instrument(tmp_path / "m.npz", made_up())
    back = read_instrument(tmp_path / "m.npz")
    np.testing.assert_array_equal(back.matrix, made_up().matrix)
    assert (back.release, back.n_bp) == ("dr4", 60)
    # As many in all, but other bands.
    chunk = read_all(write_bulk(tmp_path / "a.csv.gz", [star(1)]))
    with pytest.raises(InputError, match=r"55 \+ 55 coefficients, .* is for 60 \+ 50"):
        as_sampled(chunk, back)
    whole = (tmp_path / "m.npz").read_bytes()
    for data in (b"", b"nothing", whole[: len(whole) // 2], bytes(200)):
        (tmp_path / "b.npz").write_bytes(data)
        with pytest.raises(InputError, match=r"b\.npz: no instrument matrix.* make one by `aspgap"):
            read_instrument(tmp_path / "b.npz")
