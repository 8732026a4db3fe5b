"""Commands that bring data in: prepare, ingest, fetch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from aspgap_jax.commands.options import Selection, say
from aspgap_jax.errors import InputError

__all__ = ["Fetch", "Ingest", "Prepare"]


@dataclass(frozen=True)
class Prepare:
    """Join XP spectra, Gaia columns and APOGEE labels into a training store."""

    xp: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """XP spectra: bulk csv.gz, DataLink CSV, ECSV, FITS, VOTable, HDF5, or an XP store."""
    allstar: Path
    """APOGEE's allStar of DR17, or Astra's of DR19, in any format."""
    out: Path
    """Training store to write (HDF5)."""
    gaia: tuple[Path, ...] = ()
    """Tables with source_id and phot_g_mean_mag, and further Gaia columns, in any format, or
    folders of such. None: the Gaia columns that allStar repeats."""
    spectra: Path | None = None
    """Folder with aspcapStar or apStar files, in any depth, for the APOGEE decoder."""
    select: Selection = "table_1"
    """Which stars: the paper's Table 1, the benchmark's giants, or all that are usable."""
    min_snr_low: float = 100.0
    """Least S/N of the coefficients 1-10, in both bands (Fig. 1)."""
    min_snr_high: float = 1.0
    """Least S/N of the coefficients 11-55, in both bands (Fig. 1)."""
    id_column: str = ""
    """allStar's column of Gaia ids, where its name does not tell the release."""
    id_release: str = ""
    """Release of the ids in that column: dr3."""
    id_map: Path | None = None
    """The Gaia archive's dr2_neighbourhood of the stars, for an allStar with ids of DR2."""
    release: str = ""
    """Gaia release of the XP spectra (dr3, dr4); by default as the files say."""

    def run(self) -> int:
        from aspgap_jax.preprocessing.cuts import format_cuts
        from aspgap_jax.survey.ids import IdChoice
        from aspgap_jax.survey.prepare import prepare

        done = prepare(
            self.xp,
            self.gaia,
            self.allstar,
            self.out,
            spectra_dir=self.spectra,
            select=self.select,
            min_snr_low=self.min_snr_low,
            min_snr_high=self.min_snr_high,
            ids=IdChoice(self.id_column, self.id_release, self.id_map),
            gaia_release=self.release,
        )
        say(done.remarks)
        for row in done.bad_rows:
            print(f"aspgap: left out: {row}", file=sys.stderr)
        print(format_cuts(done.cuts))
        if done.repeated:
            print(f"{done.repeated:,} XP rows of stars that were there already were left out")
        if done.spectra is not None:
            print("APOGEE spectra: " + ", ".join(f"{k} {v}" for k, v in done.spectra.items()))
        print(f"wrote {done.stars:,} stars to {done.path}")
        return 0


@dataclass(frozen=True)
class Ingest:
    """Bulk XP files into a compact XP store, many files at a time."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """XP files of any format, folders of such, or patterns; an _MD5SUM.txt beside them is
    checked."""
    out: Path
    """Folder of the store: a part a file, and manifest.json."""
    processes: int | None = None
    """Files read at a time; one a CPU core by default."""
    release: str = ""
    """Gaia release of the spectra (dr3, dr4); by default as the files say."""

    def run(self) -> int:
        from aspgap_jax.survey.ingest import ingest

        done = ingest(self.files, self.out, processes=self.processes, gaia_release=self.release)
        print(done)
        return 1 if done.with_status("failed", "left") else 0


@dataclass(frozen=True)
class Fetch:
    """Download from the Gaia archive, with every star accounted for."""

    what: Annotated[
        Literal["xp_continuous", "xp_sampled", "gaia_source", "bulk_list"], tyro.conf.Positional
    ]
    """Spectra of the stars of --ids; Gaia columns of --ids or --pixels (Appendix A); or the
    names of the bulk files that hold --ids or --pixels."""
    out: Path
    """Folder of the download, or the list to write (bulk_list)."""
    ids: Path | None = None
    """Table with a column source_id, in any format; APOGEE's allStar is one."""
    id_column: str = ""
    """Its column of Gaia ids, where the name does not tell the release."""
    id_release: str = ""
    """Release of the ids in that column: dr3."""
    id_map: Path | None = None
    """The Gaia archive's dr2_neighbourhood of the stars, for a table with ids of DR2."""
    pixels: tuple[int, int] | None = None
    """First and last HEALPix pixel of level 8, where the stars lie."""
    listing: Path | None = None
    """The bulk folder's _MD5SUM.txt (bulk_list)."""
    server: str | None = None
    """Archive to ask; Gaia's own by default."""
    release: str = "dr3"
    """Gaia release to ask for: dr3, dr4."""

    def run(self) -> int:
        from aspgap_jax.survey import bulk, fetch, gaia
        from aspgap_jax.survey.ids import IdChoice
        from aspgap_jax.survey.tables import Remarks

        ids, remarks = None, Remarks()
        if self.ids is not None:
            choice = IdChoice(self.id_column, self.id_release, self.id_map)
            ids = gaia.read_source_ids(self.ids, choice, remarks)
            say(remarks.lines)
        if (ids is None) == (self.pixels is None):
            raise InputError(f"fetch {self.what}: give either --ids TABLE or --pixels FIRST LAST")
        if self.what == "bulk_list":
            if self.listing is None:
                raise InputError("fetch bulk_list: give --listing, the folder's _MD5SUM.txt")
            if ids is not None:
                files = bulk.bulk_files_of(self.listing, ids)
            else:
                files = bulk.bulk_files(self.listing, *(self.pixels or (0, 0)))
            bulk.write_bulk_list(self.out, files)
            print(f"wrote the names of {len(files)} bulk files to {self.out}")
            return 0
        if self.what == "gaia_source" and self.pixels is not None:
            done = fetch.fetch_sky(*self.pixels, self.out, server=self.server, release=self.release)
        elif ids is None:
            raise InputError(f"fetch {self.what}: give the stars as --ids TABLE")
        elif self.what == "gaia_source":
            done = fetch.fetch_sources(ids, self.out, server=self.server, release=self.release)
        else:
            done = fetch.fetch_spectra(
                ids, self.out, kind=self.what.upper(), server=self.server, release=self.release
            )
        for name, error in done.failed_parts.items():
            print(f"aspgap: {name}: {error}", file=sys.stderr)
        print(
            f"{done.delivered:,} of {done.requested:,} stars delivered, {len(done.missing):,} "
            f"missing in the archive, {len(done.failed):,} failed; wrote {self.out}"
        )
        return 1 if done.failed_parts else 0
