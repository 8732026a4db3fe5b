"""Fetching, from a stand-in for the archive on the loopback; nothing goes outside."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from aspgap_jax.cli import main
from aspgap_jax.errors import InputError
from aspgap_jax.files.locks import Holder
from aspgap_jax.survey import archive as archive_module
from aspgap_jax.survey import bulk, fetch
from aspgap_jax.survey.archive import Archive, adql, sky_condition
from aspgap_jax.survey.gaia import read_source_ids
from aspgap_jax.survey.manifest import Manifest
from aspgap_jax.survey.prepare import prepare
from aspgap_jax.survey.xp import read_xp
from support.apogee_files import allstar_columns, gaia_table, write_allstar, xp_columns
from support.archive_server import MadeUpArchive, serving
from support.held_locks import held_by_another
from support.table_files import CONTAINERS

pytest.importorskip("astroquery", reason="fetching needs astroquery")

PIXEL = 2**43
# Three stars in each of the pixels 4, 5 and 6.
STARS = [pixel * PIXEL + i for pixel in (4, 5, 6) for i in (1, 2, 3)]
UNKNOWN = [9 * PIXEL, 9 * PIXEL + 1]


@pytest.fixture
def archive() -> Iterator[MadeUpArchive]:
    with serving(MadeUpArchive(STARS)) as served:
        yield served


def spectra(archive: MadeUpArchive, folder: Path, ids: list[int], **options: Any) -> Manifest:
    options = {"chunk_size": 4, "attempts": 2, "wait_s": 0.0} | options
    return fetch.fetch_spectra(np.array(ids), folder, server=archive.url, **options)


def ids_in(folder: Path) -> list[int]:
    """The source ids in all files of a folder, as the reader sees them."""
    return sorted(
        int(star)
        for path in folder.glob("*.fits")
        for chunk in read_xp(path)
        for star in chunk.source_id
    )


def reconcile(folder: Path, asked: list[int]) -> dict[str, Any]:
    """Check the manifest against the files and against what was asked for."""
    values = json.loads((folder / "manifest.json").read_text())
    missing = [star for part in values["parts"].values() for star in part["missing"]]
    failed = [star for part in values["parts"].values() for star in part["failed"]]
    delivered = ids_in(folder)
    assert sorted([*delivered, *missing, *failed]) == sorted(set(asked))
    assert values["requested"] == len(set(asked))
    assert values["delivered"] == len(delivered)
    assert (values["missing"], values["failed"]) == (len(missing), len(failed))
    for part in values["parts"].values():
        if part["file"]:
            digest = hashlib.sha256((folder / part["file"]).read_bytes()).hexdigest()
            assert part["sha256"] == digest
    return values


def test_every_id_is_delivered_or_missing(archive: MadeUpArchive, tmp_path: Path) -> None:
    asked = [*STARS, *UNKNOWN, STARS[0]]
    manifest = spectra(archive, tmp_path, asked)
    reconcile(tmp_path, asked)
    assert manifest.missing == tuple(UNKNOWN)
    assert manifest.failed == ()
    assert manifest.repeated == 1
    assert [len(ids) for ids in archive.datalink] == [4, 4, 3]
    # Numbers arrive as they were sent.
    first = next(read_xp(tmp_path / "xp_continuous_00000.fits"))
    sent = xp_columns(sorted(archive.datalink[0]))
    np.testing.assert_array_equal(first.coefficients[:, :55], sent["bp_coefficients"])


@pytest.mark.parametrize(
    ("known", "taken"),
    [({"RAW"}, "RAW"), ({"DATAMODEL_GAIA"}, "DATAMODEL_GAIA"), ({"RAW", "DATAMODEL_GAIA"}, None)],
)
def test_structures_are_called_by_their_new_name_or_by_the_old(
    archive: MadeUpArchive, tmp_path: Path, known: set[str], taken: str | None
) -> None:
    archive.structures = known
    manifest = spectra(archive, tmp_path, STARS)
    assert (manifest.failed, manifest.missing) == ((), ())
    assert ids_in(tmp_path) == STARS
    used = {request["DATA_STRUCTURE"] for request in archive.requests}
    assert used == {taken or "DATAMODEL_GAIA"}
    assert {request["RETRIEVAL_TYPE"] for request in archive.requests} == {"XP_CONTINUOUS"}


def test_another_release_has_other_names(archive: MadeUpArchive, tmp_path: Path) -> None:
    spectra(archive, tmp_path / "dr4", STARS, release="dr4")
    assert {request["RETRIEVAL_TYPE"] for request in archive.requests} == {"MEAN_SPECTRUM_XP"}
    with pytest.raises(InputError, match="Gaia DR4 has no XP_SAMPLED spectra; it has XP_CONT"):
        spectra(archive, tmp_path / "s", STARS, release="dr4", kind="XP_SAMPLED")
    with pytest.raises(InputError, match="holds another request"):
        spectra(archive, tmp_path / "dr4", STARS)
    assert "FROM gaiadr4.gaia_source" in adql("*", "x", "dr4")
    assert "all_source_flags" in sky_condition(4, 4, "dr4")


def test_a_part_without_any_star_makes_no_file(archive: MadeUpArchive, tmp_path: Path) -> None:
    manifest = spectra(archive, tmp_path, UNKNOWN)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert manifest.missing == tuple(UNKNOWN)
    spectra(archive, tmp_path, UNKNOWN)
    assert len(archive.datalink) == 1


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda body: 503, id="refused"),
        pytest.param(lambda body: body[: len(body) // 2], id="truncated"),
        pytest.param(lambda body: b"", id="empty"),
        pytest.param(lambda body: b"<VOTABLE>no</VOTABLE>", id="error document"),
    ],
)
def test_a_bad_answer_is_asked_for_again(
    archive: MadeUpArchive, tmp_path: Path, spoilt: Any
) -> None:
    archive.spoil = lambda number, body: spoilt(body) if number == 1 else body
    manifest = spectra(archive, tmp_path, STARS)
    reconcile(tmp_path, STARS)
    assert manifest.failed == ()
    assert len(archive.datalink) == 4


def test_what_failed_is_listed_and_fetched_by_the_next_call(
    archive: MadeUpArchive, tmp_path: Path
) -> None:
    asked = [*STARS, *UNKNOWN]
    archive.spoil = lambda number, body: 500 if number in (2, 3) else body
    manifest = spectra(archive, tmp_path, asked)
    values = reconcile(tmp_path, asked)
    assert manifest.failed == tuple(sorted(asked)[4:8])
    assert "out of order" in values["parts"]["xp_continuous_00001"]["error"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    archive.datalink.clear()
    manifest = spectra(archive, tmp_path, asked)
    assert archive.datalink == [sorted(asked)[4:8]]
    reconcile(tmp_path, asked)
    assert manifest.failed == ()


def test_an_archive_that_is_down_is_not_asked_for_ever(
    archive: MadeUpArchive, tmp_path: Path
) -> None:
    archive.spoil = lambda number, body: 503
    manifest = spectra(archive, tmp_path, STARS, chunk_size=1)
    assert len(archive.datalink) == 2 * fetch.GIVE_UP
    reconcile(tmp_path, STARS)
    assert manifest.failed == tuple(STARS)
    assert "not tried" in manifest.parts["xp_continuous_00008"].error


def test_a_file_that_was_damaged_since_is_fetched_again(
    archive: MadeUpArchive, tmp_path: Path
) -> None:
    spectra(archive, tmp_path, STARS)
    archive.datalink.clear()
    part = tmp_path / "xp_continuous_00001.fits"
    part.write_bytes(part.read_bytes()[:-2880])
    spectra(archive, tmp_path, STARS)
    assert archive.datalink == [STARS[4:8]]
    reconcile(tmp_path, STARS)


def test_a_damaged_file_of_stars_that_are_gone_does_not_stay(
    archive: MadeUpArchive, tmp_path: Path
) -> None:
    spectra(archive, tmp_path, STARS)
    (tmp_path / "xp_continuous_00001.fits").write_bytes(b"damaged")
    archive.stars = archive.stars[:4]
    manifest = spectra(archive, tmp_path, STARS)
    reconcile(tmp_path, STARS)
    assert manifest.missing == tuple(STARS[4:8])


def test_interruption_leaves_a_folder_that_can_be_continued(
    archive: MadeUpArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Archive.spectra

    def interrupted(self: Archive, ids: Any, kind: str, into: Path) -> None:
        if archive.answers == 1:
            raise KeyboardInterrupt
        real(self, ids, kind, into)

    monkeypatch.setattr(Archive, "spectra", interrupted)
    with pytest.raises(KeyboardInterrupt):
        spectra(archive, tmp_path, STARS)
    values = reconcile(tmp_path, STARS)
    assert (values["delivered"], values["failed"]) == (4, 5)
    monkeypatch.undo()
    assert spectra(archive, tmp_path, STARS).failed == ()
    reconcile(tmp_path, STARS)


def test_a_full_disk_is_not_the_archive_s_fault(
    archive: MadeUpArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Archive, "spectra", full)
    with pytest.raises(InputError, match="No space left on device"):
        spectra(archive, tmp_path, STARS)
    reconcile(tmp_path, STARS)
    monkeypatch.undo()
    assert spectra(archive, tmp_path, STARS).delivered == len(STARS)


def test_stars_that_were_not_asked_for_do_not_pass(archive: MadeUpArchive, tmp_path: Path) -> None:
    foreign = MadeUpArchive(STARS).bundle(STARS)
    archive.spoil = lambda number, body: foreign
    manifest = spectra(archive, tmp_path, STARS[:2])
    assert manifest.failed == tuple(STARS[:2])
    assert "not asked for" in manifest.parts["xp_continuous_00000"].error
    assert not list(tmp_path.glob("*.fits"))


def test_columns_of_listed_stars(archive: MadeUpArchive, tmp_path: Path) -> None:
    asked = [*STARS, *UNKNOWN]
    manifest = fetch.fetch_sources(
        np.array(asked), tmp_path, server=archive.url, chunk_size=20, wait_s=0.0
    )
    assert manifest.missing == tuple(UNKNOWN)
    table = Table.read(tmp_path / "gaia_source_00000.fits")
    expected = gaia_table(STARS)
    np.testing.assert_array_equal(table["source_id"], expected["source_id"])
    np.testing.assert_array_equal(table["phot_g_mean_mag"], expected["phot_g_mean_mag"])
    assert str(table["parallax"].unit) == "mas"
    assert archive.queries[0].startswith("SELECT source_id, ra, dec, ")


def test_a_part_of_the_sky_is_counted_and_fetched(archive: MadeUpArchive, tmp_path: Path) -> None:
    manifest = fetch.fetch_sky(4, 6, tmp_path, server=archive.url, pixels_a_part=2, wait_s=0.0)
    assert (manifest.requested, manifest.delivered) == (9, 9)
    found = [Table.read(path)["source_id"] for path in sorted(tmp_path.glob("*.fits"))]
    assert [len(ids) for ids in found] == [6, 3]
    np.testing.assert_array_equal(np.concatenate(found), STARS)
    assert all("has_xp_continuous = 'true'" in query for query in archive.queries)


def test_a_part_of_the_sky_with_too_few_rows_does_not_pass(
    archive: MadeUpArchive, tmp_path: Path
) -> None:
    """The archive cuts answers at its row limit, without an error."""
    short = MadeUpArchive(STARS[:2]).result("BETWEEN 0 AND 9999999999999999999")
    archive.spoil = lambda number, body: short if number % 2 == 0 else body
    manifest = fetch.fetch_sky(4, 6, tmp_path, server=archive.url, attempts=2, wait_s=0.0)
    assert list(manifest.failed_parts) == ["gaia_source_000004-000006"]
    assert "2 stars came where the archive counts 9" in next(iter(manifest.failed_parts.values()))
    assert not list(tmp_path.glob("*.fits"))


def test_a_truncated_table_is_asked_for_again(archive: MadeUpArchive, tmp_path: Path) -> None:
    archive.spoil = lambda number, body: body[:-200] if number == 1 else body
    manifest = fetch.fetch_sources(np.array(STARS), tmp_path, server=archive.url, wait_s=0.0)
    assert manifest.delivered == 9
    assert len(archive.queries) == 2


def test_what_was_fetched_can_be_prepared(archive: MadeUpArchive, tmp_path: Path) -> None:
    asked = read_source_ids(write_allstar(tmp_path / "a.fits", allstar_columns(STARS)))
    spectra(archive, tmp_path / "xp", asked.tolist())
    fetch.fetch_sources(asked, tmp_path / "gaia", server=archive.url, wait_s=0.0)
    prepared = prepare(
        sorted((tmp_path / "xp").glob("*.fits")),
        sorted((tmp_path / "gaia").glob("*.fits")),
        tmp_path / "a.fits",
        tmp_path / "store.h5",
    )
    assert prepared.stars == len(STARS)


def test_the_query_of_appendix_a() -> None:
    assert adql("*", "has_xp_continuous = 'true'") == (
        "SELECT * FROM gaiadr3.gaia_source WHERE has_xp_continuous = 'true'"
    )
    # Pixel 4 holds the ids from 4 * 2**43 up to, not including, 5 * 2**43.
    assert sky_condition(4, 4).endswith("BETWEEN 35184372088832 AND 43980465111039")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "RVS"}, "XP_CONTINUOUS, XP_SAMPLED"),
        ({"chunk_size": 5001}, "from 1 to 5,000"),
        ({"attempts": 0}, "attempts must be >= 1"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fetch.fetch_spectra(np.array([1]), tmp_path, server="http://127.0.0.1:9", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ids", [[], [0, 5], [-1]])
def test_ids_that_are_none(tmp_path: Path, ids: list[int]) -> None:
    with pytest.raises(InputError, match="source ids must be positive"):
        fetch.fetch_spectra(np.array(ids, np.int64), tmp_path, server="http://127.0.0.1:9")


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no URL of an archive"):
        fetch.fetch_spectra(np.array([1]), tmp_path, server="archive")
    manifest = fetch.fetch_spectra(np.array([1]), tmp_path, server="http://127.0.0.1:9", attempts=1)
    assert manifest.failed == (1,)
    assert "ConnectionRefusedError" in manifest.parts["xp_continuous_00000"].error


def test_a_folder_of_another_request_is_left_alone(archive: MadeUpArchive, tmp_path: Path) -> None:
    spectra(archive, tmp_path, STARS)
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="holds another request"):
        spectra(archive, tmp_path, STARS[:3])
    assert (tmp_path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", '{"format": "other", "format_version": 1}'])
def test_a_damaged_manifest(archive: MadeUpArchive, tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: no readable manifest"):
        spectra(archive, tmp_path, STARS)


def test_without_astroquery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name.startswith("astroquery"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(archive_module.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r'pip install "astroquery>=[0-9.]+" "GaiaXPy>=[0-9.]+"'):
        fetch.fetch_spectra(np.array([1]), tmp_path)


def test_the_default_server_is_astroquery_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in, because importing astroquery.gaia asks the real archive."""

    class GaiaClass:
        def __init__(self, *, gaia_tap_server: str = "https://gaia.invalid/") -> None: ...

    monkeypatch.setitem(sys.modules, "astroquery.gaia", SimpleNamespace(GaiaClass=GaiaClass))
    assert Archive().server == "https://gaia.invalid/"


def test_a_given_server_is_the_only_one_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """``astroquery.gaia`` connects to the real archive when it is imported."""
    monkeypatch.delitem(sys.modules, "astroquery.gaia", raising=False)
    Archive("http://127.0.0.1:9")
    assert "astroquery.gaia" not in sys.modules


LISTING = """\
0123456789abcdef0123456789abcdef  XpContinuousMeanSpectrum_000000-003111.csv.gz
1123456789abcdef0123456789abcdef  XpContinuousMeanSpectrum_003112-005263.csv.gz
2123456789abcdef0123456789abcdef  XpContinuousMeanSpectrum_005264-786431.csv.gz
"""


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    path = tmp_path / "_MD5SUM.txt"
    path.write_text(LISTING)
    return path


def firsts(files: tuple[bulk.BulkFile, ...]) -> list[int]:
    return [file.first for file in files]


def test_bulk_files_of_a_range(listing: Path) -> None:
    assert firsts(bulk.bulk_files(listing, 3111, 3112)) == [0, 3112]
    assert firsts(bulk.bulk_files(listing, 3112, 5263)) == [3112]
    assert firsts(bulk.bulk_files(listing, 0, 786431)) == [0, 3112, 5264]
    assert bulk.bulk_files(listing, 0, 0)[0].md5 == "0123456789abcdef0123456789abcdef"


def test_bulk_files_of_stars(listing: Path) -> None:
    stars = np.array([PIXEL * 5264 + 7, PIXEL * 3112 - 1, PIXEL * 786432 - 1])
    assert firsts(bulk.bulk_files_of(listing, stars)) == [0, 5264]


def test_bulk_list(listing: Path, tmp_path: Path) -> None:
    files = bulk.bulk_files(listing, 3000, 3200)
    bulk.write_bulk_list(tmp_path / "list.txt", files, "https://mirror.invalid/xp")
    assert (tmp_path / "list.txt").read_text().splitlines() == [
        "https://mirror.invalid/xp/XpContinuousMeanSpectrum_000000-003111.csv.gz",
        "https://mirror.invalid/xp/XpContinuousMeanSpectrum_003112-005263.csv.gz",
    ]
    bulk.write_bulk_list(tmp_path / "names.txt", files)
    assert (tmp_path / "names.txt").read_text().startswith("XpContinuousMeanSpectrum_000000")


def test_bad_bulk_lists(listing: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such range"):
        bulk.bulk_files(listing, 5, 4)
    with pytest.raises(InputError, match="no such range"):
        bulk.bulk_files(listing, 0, 786432)
    listing.write_text("".join(LISTING.splitlines(keepends=True)[::2]))
    with pytest.raises(InputError, match="2,152 of the 2,153 HEALPix pixels are in no file"):
        bulk.bulk_files(listing, 3112, 5264)
    listing.write_text(LISTING + "<html>not found</html>\n")
    with pytest.raises(InputError, match="row 4"):
        bulk.bulk_files(listing, 0, 1)
    listing.write_text("0123456789abcdef0123456789abcdef  GaiaSource_000000-003111.csv.gz\n")
    with pytest.raises(InputError, match="names no file like"):
        bulk.bulk_files(listing, 0, 1)
    with pytest.raises(InputError, match="no readable list"):
        bulk.read_listing(tmp_path)


@pytest.mark.parametrize("container", ["bar", "Feather", "HDF5, pandas fixed", "HATS", "VOTable"])
def test_bulk_files_of_the_stars_of_any_table(
    listing: Path, tmp_path: Path, container: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # One star in HEALPix pixel 0, one in pixel 5264, a row without an id.
    ids = {"gaia_id": np.array([17, 5264 * 2**43 + 3, -1]), "mag": np.array([9.0, 10.0, 11.0])}
    path = CONTAINERS[container](tmp_path / "stars", ids)
    out = tmp_path / "files.txt"
    command = ["fetch", "bulk_list", "--ids", str(path), "--listing", str(listing)]
    command += ["--out", str(out)]
    assert main(command) == 2
    assert "gaia_id does not tell of which release its ids are" in capsys.readouterr().err
    assert main([*command, "--id-column", "gaia_id"]) == 0
    assert f"aspgap: {path}: 1 of 3 rows have no Gaia source id" in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == 2


def test_a_bulk_list_that_another_process_writes_is_left_to_it(
    listing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "files.txt"
    command = ["fetch", "bulk_list", "--pixels", "0", "3", "--listing", str(listing)]
    place = tmp_path / ".files.txt.running"
    with held_by_another(place / "run-x", Holder(command="aspgap fetch bulk_list")):
        assert main([*command, "--out", str(out)]) == 2
    assert "is being written by" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("what", ["xp_continuous", "gaia_source"])
def test_the_status_says_that_a_part_failed(
    archive: MadeUpArchive,
    what: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The pauses between its attempts.
    monkeypatch.setattr(fetch, "time", SimpleNamespace(sleep=lambda seconds: None))
    table = tmp_path / "ids.csv"
    table.write_text("source_id\n" + "\n".join(str(star) for star in archive.stars) + "\n")
    command = ["fetch", what, "--ids", str(table), "--out", str(tmp_path / "xp")]
    command += ["--server", archive.url]
    archive.spoil = lambda number, body: 404
    assert main(command) == 1
    said = capsys.readouterr()
    count = len(archive.stars)
    assert f"0 of {count} stars delivered, 0 missing in the archive, {count} failed" in said.out
    assert said.err.startswith("aspgap: ")
    # The same command asks again for what failed.
    archive.spoil = lambda number, body: body
    assert main(command) == 0
    # Stars that the archive does not have are no failure, but none at all is.
    table.write_text("source_id\n" + "\n".join(map(str, UNKNOWN)) + "\n")
    assert main([*command[:5], str(tmp_path / "none"), *command[6:]]) == 1
    assert "0 of 2 stars delivered, 2 missing in the archive, 0 failed" in capsys.readouterr().out


def test_fetch_as_a_user_types_it(
    archive: MadeUpArchive,
    listing: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "ids.csv"
    table.write_text("source_id\n" + "\n".join(str(star) for star in archive.stars) + "\n")
    ids, server = ["--ids", str(table)], ["--server", archive.url]
    out = tmp_path / "xp"
    assert main(["fetch", "xp_continuous", *ids, "--out", str(out), *server]) == 0
    count = len(archive.stars)
    assert f"{count} of {count} stars delivered, 0 missing" in capsys.readouterr().out
    names = tmp_path / "files.txt"
    bulk_list = ["fetch", "bulk_list", "--pixels", "0", "3", "--out", str(names)]
    assert main([*bulk_list, "--listing", str(listing)]) == 0
    assert "XpContinuousMeanSpectrum" in names.read_text()
    for wrong, message in (
        ([*bulk_list, "--overwrite"], "give --listing"),
        (["fetch", "xp_sampled", "--out", str(out)], "give either --ids TABLE or --pixels"),
        (["fetch", "xp_sampled", "--pixels", "0", "1", "--out", str(out)], "as --ids TABLE"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err
