"""Ids of the right release: told by names, told by the user, mapped, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aspgap_jax.errors import InputError
from aspgap_jax.survey.gaia import read_source_ids
from aspgap_jax.survey.ids import IdChoice, id_column, release_of, say_share
from aspgap_jax.survey.tables import Remarks, Unfit
from support.table_files import CONTAINERS, stars, text

IDS = stars(4)["source_id"]


@pytest.mark.parametrize(
    ("column", "release"),
    [
        ("dr3_source_id", "dr3"),
        ("SOURCE_ID_DR3", "dr3"),
        ("GAIAEDR3_SOURCE_ID", "dr3"),
        ("gaia_dr3_source_id", "dr3"),
        ("GaiaDR3", "dr3"),
        ("DR3Name", "dr3"),
        ("gaia_edr3_id_1", "dr3"),
        ("gaia_source_id_dr2", "dr2"),
        ("gaia_dr2_source_id", "dr2"),
        ("dr4_source_id", "dr4"),
        ("source_id", None),
        ("gaia_source_id", None),
        ("Gaia", None),
        ("dr3", None),
        ("in_dr3_sample", None),
    ],
)
def test_names_that_tell_the_release(column: str, release: str | None) -> None:
    assert release_of(column) == release


@pytest.mark.parametrize(
    ("columns", "choice", "taken"),
    [
        (("source_id", "dr3_source_id"), IdChoice(), ("dr3_source_id", "dr3")),
        (("gaia_dr2_source_id", "gaia_dr3_source_id"), IdChoice(), ("gaia_dr3_source_id", "dr3")),
        (("Gaia_source_id", "teff"), IdChoice(release="EDR3"), ("gaia_source_id", "dr3")),
        (("Gaia_source_id", "source_id"), IdChoice("Gaia_source_id"), ("gaia_source_id", "dr3")),
        (("star", "x"), IdChoice("STAR", "DR3"), ("star", "dr3")),
        (("dr2_source_id",), IdChoice(mapping=Path("m")), ("dr2_source_id", "dr2")),
        (("source_id",), IdChoice(release="dr2", mapping=Path("m")), ("source_id", "dr2")),
    ],
)
def test_which_column_is_taken(
    columns: tuple[str, ...], choice: IdChoice, taken: tuple[str, str]
) -> None:
    wanted, release = id_column(columns, choice)
    assert (wanted.accepted[0], release) == taken


@pytest.mark.parametrize(
    ("columns", "choice", "words"),
    [
        (("gaia_source_id",), IdChoice(), "gaia_source_id does not tell .* --id-column gaia"),
        (("Gaia", "teff"), IdChoice(), "gaia does not tell of which release"),
        (("gaia_dr2_source_id",), IdChoice(), r"of DR2, where stars .* dr2_neighbourhood \(dr2_s"),
        (("source_id_dr4",), IdChoice(), r"of DR4, .* dr3_neighbourhood \(dr3_source_id, dr4_"),
        (("source_id",), IdChoice(release="dr2"), "of DR2, where stars have other ids"),
        (("a", "b"), IdChoice(), "no column of Gaia DR3 source ids; .* the table has a, b"),
        (("source_id",), IdChoice("star"), r"no column star \(--id-column\); the table has sour"),
        (("dr2_source_id",), IdChoice("dr2_source_id", "dr3"), "--id-release dr3: the column dr2"),
        (("source_id",), IdChoice(release="latest"), "--id-release latest: no release of Gaia"),
    ],
)
def test_which_column_is_refused_and_how_to_go_on(
    columns: tuple[str, ...], choice: IdChoice, words: str
) -> None:
    with pytest.raises((Unfit, InputError), match=words):
        id_column(columns, choice)


def test_ids_of_dr2_are_mapped_by_the_archives_table(tmp_path: Path) -> None:
    """An id with two neighbours, one with none, and two ids that share a neighbour."""
    pairs = [(11, 101, 0.2), (11, 102, 0.1), (12, 103, 0.3), (13, 103, 0.2), (15, 105, 0.0)]
    old, new, distance = (np.array(column) for column in zip(*pairs, strict=True))
    for container in ("comma", "Parquet"):
        mapping = CONTAINERS[container](
            tmp_path / f"dr2_neighbourhood {container}",
            {"dr2_source_id": old, "dr3_source_id": new, "angular_distance": distance},
        )
        path = text(tmp_path / "old.csv", {"gaia_dr2_source_id": np.array([15, 14, 13, 12, 11])})
        remarks = Remarks()
        found = read_source_ids(path, IdChoice(mapping=mapping), remarks)
        assert found.tolist() == [105, 103, 102]
        assert remarks.lines[0] == f"{mapping}: 3 of 5 ids of DR2 are mapped to DR3"
        assert remarks.lines[1] == f"{path}: 2 of 5 rows have no Gaia source id"
    path = text(tmp_path / "others.csv", {"dr2_source_id": np.array([21, 22])})
    with pytest.raises(InputError, match="has none of the 2 ids of DR2"):
        read_source_ids(path, IdChoice(mapping=mapping))


def test_ids_of_dr4_are_mapped_back(tmp_path: Path) -> None:
    columns = {"dr3_source_id": IDS, "dr4_source_id": IDS + 1, "angular_distance": np.zeros(4)}
    mapping = text(tmp_path / "dr3_neighbourhood.csv", columns)
    path = text(tmp_path / "new.csv", {"source_id": IDS + 1})
    found = read_source_ids(path, IdChoice(release="dr4", mapping=mapping))
    assert found.tolist() == IDS.tolist()


@pytest.mark.parametrize("container", CONTAINERS)
def test_ids_to_fetch_come_from_any_container(tmp_path: Path, container: str) -> None:
    columns = stars(4)
    columns["source_id"][1] = -1
    path = CONTAINERS[container](tmp_path / "ids", columns)
    remarks = Remarks()
    assert read_source_ids(path, remarks=remarks).tolist() == IDS[[0, 2, 3]].tolist()
    assert remarks.lines == (f"{path}: 1 of 4 rows have no Gaia source id",)


def test_one_column_is_enough_and_a_designation_is_an_id(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("source_id\n" + "\n".join(map(str, IDS)) + "\n")
    assert read_source_ids(path).tolist() == IDS.tolist()
    path.write_text("DR3Name;Teff\n" + "".join(f"Gaia DR3 {i};5000\n" for i in IDS))
    assert read_source_ids(path).tolist() == IDS.tolist()


def test_the_share_of_matches_is_said_and_little_is_a_warning() -> None:
    remarks = Remarks()
    say_share(10, 100, 1000, "a.csv", remarks)
    say_share(9, 1000, 100, "b.csv", remarks)
    good, poor = remarks.lines
    assert good == "a.csv: 10 of 100 stars are among its 1,000"
    assert poor == (
        "b.csv: 9 of 1,000 stars are among its 100, less than 10% of the smaller: are the ids of "
        "the same release?"
    )
