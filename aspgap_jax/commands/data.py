"""Commands that bring data in: prepare, ingest, fetch."""

from __future__ import annotations

import sys
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from aspgap_jax.commands.options import (
    Flattened,
    GivenIds,
    Overwrite,
    OwnLabels,
    Release,
    Select,
    say,
)
from aspgap_jax.errors import InputError
from aspgap_jax.files.access import check_files, check_new, check_writable
from aspgap_jax.labels import LABELS
from aspgap_jax.preprocessing.snr import LeastSNR

__all__ = ["Fetch", "Ingest", "Prepare"]


@dataclass(frozen=True)
class Prepare:
    """Join XP spectra, Gaia columns and APOGEE labels into a training store.

    Examples::

        aspgap prepare xp-store --allstar allStar.fits --out train.h5
        aspgap prepare xp --allstar allStar.fits --gaia gaia.csv --out my.h5
        aspgap prepare xp --allstar allStar.fits --spectra apogee --out my.h5
    """

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
    select: Select = "table_1"
    own: Annotated[OwnLabels, Flattened] = field(default_factory=OwnLabels)
    missing_labels: Literal["drop", "keep"] = "drop"
    """Stars that lack a label: leave them out, or keep those that have one at least; cuts
    let pass what they cannot judge. Train with `--data.missing-labels keep`."""
    least: Annotated[LeastSNR, Flattened] = field(default_factory=LeastSNR)
    ids: Annotated[GivenIds, Flattened] = field(default_factory=GivenIds)
    """Of allStar."""
    release: Release = ""
    overwrite: Overwrite = False

    def run(self) -> int:
        """Make the training store.

        Raises:
            InputError: an input that cannot be used, or an output that may not be replaced.
        """
        check_new(self.out, overwrite=self.overwrite)
        check_files([self.allstar], "--allstar")
        check_files(self.gaia, "--gaia", folders=True)
        check_files([] if self.ids.id_map is None else [self.ids.id_map], "--id-map")
        check_files(self.xp, "XP spectra:", folders=True)
        if self.spectra is not None and not self.spectra.is_dir():
            raise InputError(f"--spectra {self.spectra}: no such folder")
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
            least=self.least,
            ids=IdChoice(*astuple(self.ids)),
            gaia_release=self.release,
            missing_labels=self.missing_labels,
            table=self.own.chosen(LABELS),
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
        return 1 if done.bad_rows else 0


@dataclass(frozen=True)
class Ingest:
    """Bulk XP files into a compact XP store, many files at a time.

    Examples::

        aspgap ingest bulk --out xp-store
        aspgap ingest "bulk/*.csv.gz" --out xp-store --processes 8
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """XP files of any format, folders of such, or patterns; an _MD5SUM.txt beside them is
    checked."""
    out: Path
    """Folder of the store: a part a file, and manifest.json."""
    processes: int | None = None
    """Files read at a time; one a CPU core by default."""
    release: Release = ""

    def run(self) -> int:
        """Convert the files; 1 where one failed or a row was bad."""
        check_writable(self.out)
        from aspgap_jax.survey.ingest import ingest

        done = ingest(self.files, self.out, processes=self.processes, gaia_release=self.release)
        print(done)
        return 1 if done.with_status("failed", "left") or done.total("bad") else 0


@dataclass(frozen=True)
class Fetch:
    """Download from the Gaia archive, with every star accounted for.

    Examples::

        aspgap fetch xp_continuous --ids my_stars.csv --out xp
        aspgap fetch gaia_source --ids my_stars.csv --out gaia
        aspgap fetch gaia_source --pixels 0 99 --out gaia
        aspgap fetch bulk_list --pixels 0 99 --listing _MD5SUM.txt --out files.txt
    """

    what: Annotated[
        Literal["xp_continuous", "xp_sampled", "gaia_source", "bulk_list"], tyro.conf.Positional
    ]
    """Spectra of the stars of --ids; Gaia columns of --ids or --pixels (Appendix A); or the
    names of the bulk files that hold --ids or --pixels."""
    out: Path
    """Folder of the download, or the list to write (bulk_list)."""
    ids: Path | None = None
    """Table with a column source_id, in any format; APOGEE's allStar is one."""
    given: Annotated[GivenIds, Flattened] = field(default_factory=GivenIds)
    """Of --ids."""
    pixels: tuple[int, int] | None = None
    """First and last HEALPix pixel of level 8, where the stars lie."""
    listing: Path | None = None
    """The bulk folder's _MD5SUM.txt (bulk_list)."""
    server: str | None = None
    """Archive to ask; Gaia's own by default."""
    release: str = "dr3"
    """Gaia release to ask for: dr3, dr4."""
    overwrite: Overwrite = False

    def run(self) -> int:
        """Download, or list what is to be downloaded; 1 where a part failed.

        Raises:
            InputError: an option is missing, or the ids cannot be used.
        """
        if self.what == "bulk_list":
            check_new(self.out, overwrite=self.overwrite)
        else:
            check_writable(self.out)
        from aspgap_jax.survey import bulk, fetch, gaia
        from aspgap_jax.survey.ids import IdChoice
        from aspgap_jax.survey.tables import Remarks

        ids, remarks = None, Remarks()
        if self.ids is not None:
            ids = gaia.read_source_ids(self.ids, IdChoice(*astuple(self.given)), remarks)
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
        return 1 if done.failed_parts or not done.delivered else 0
