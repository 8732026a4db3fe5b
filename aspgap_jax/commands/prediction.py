"""Commands that give labels: predict, catalogue."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from aspgap_jax.commands.options import (
    EXPERT,
    CatalogueSelect,
    Flattened,
    Overwrite,
    Release,
    say,
)
from aspgap_jax.config import PredictOptions
from aspgap_jax.files.access import check_files, check_new, check_writable

__all__ = ["Catalogue", "Predict"]

FIGURES = ("figure10_rgb_selection", "figure11_catalogue")


@dataclass(frozen=True)
class Predict:
    """Labels, uncertainties and flags for the stars of any number of files.

    Examples::

        aspgap predict my_xp.csv
        aspgap predict "xp/*.csv.gz" --gaia gaia.fits --out labels
        aspgap predict xp-store --bundle runs/all --out labels --shard 1/4
        aspgap predict sample --show 0 --log predict.log --quiet
    """

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """XP spectra in any format, XP stores, training stores; files, folders or patterns
    ("xp/*.csv.gz"); or the real sample ("sample")."""
    out: Path = Path("aspgap-labels")
    """Folder of the labels: a Parquet part an input, and the manifest. The same command
    goes on where it was interrupted."""
    bundle: Path | None = None
    """A bundle, or the folder of a run; the released bundle by default."""
    gaia: tuple[Path, ...] = ()
    """Tables with source_id and phot_g_mean_mag or ruwe, where the spectra come without.
    Without G it is taken from the spectrum."""
    release: Release = ""
    instrument: Annotated[Path | None, EXPERT] = None
    """Instrument matrix of a release whose coefficients aspgap cannot sample itself;
    `aspgap instrument-matrix` makes it."""
    shard: str | None = None
    """i/n: predict every n-th input, from the i-th on; slurm: i and n are those of this task
    in its Slurm array and step. By default all, but the tasks of one step (srun) that write
    into one folder each take what no other has taken."""
    options: Annotated[PredictOptions, Flattened, EXPERT] = field(default_factory=PredictOptions)
    show: int = 10
    """Stars to print."""

    def run(self) -> int:
        """Label the files; 1 where one failed or has no labels."""
        check_writable(self.out)
        check_files(self.gaia, "--gaia", folders=True)
        from aspgap_jax.prediction.bundle import load_bundle
        from aspgap_jax.prediction.files import predict_files
        from aspgap_jax.prediction.output import first_stars
        from aspgap_jax.prediction.shares import share_of_process
        from aspgap_jax.runtime.parallel import check_devices
        from aspgap_jax.survey.inputs import Delivery
        from aspgap_jax.survey.tables import Remarks
        from aspgap_jax.survey.xp import releases
        from aspgap_jax.survey.xp.instrument import read_instrument

        share = share_of_process(self.shard)
        if share.team:
            print(f"task {share.task} of {share.tasks} of a job step: each takes the next file")
        elif share.tasks > 1:
            print(f"share {share.task} of {share.tasks}")
        matrix = None if self.instrument is None else read_instrument(self.instrument)
        if self.release:
            releases.release(self.release)
        check_devices()
        bundle, info = load_bundle(self.bundle)
        done = predict_files(
            self.inputs,
            self.out,
            bundle,
            info,
            self.options,
            gaia=self.gaia,
            delivery=Delivery(self.release, matrix),
            share=share,
            remarks=(remarks := Remarks()),
        )
        say(remarks.lines)
        if self.show:
            print(first_stars(self.out, done.files, self.show, info.config.labels))
        print(done, file=sys.stdout if done.complete else sys.stderr)
        return 0 if done.complete else 1


@dataclass(frozen=True)
class Catalogue:
    """One catalogue from the parts of predictions, with Gaia's columns and the paper's cuts.

    Examples::

        aspgap catalogue labels --unflagged --out stars.parquet
        aspgap catalogue labels --where "teff_xp < 5000 and flags == 0" --out c.vot
        aspgap catalogue labels --gaia gaia.fits --select rgb --out rgb.fits
        aspgap catalogue labels --gaia gaia-folder --out hats-catalogue
    """

    parts: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders that `aspgap predict` wrote, or parts in them."""
    out: Path
    """A .fits, .h5, .parquet, .csv, .ecsv or .vot file, or a folder: Parquet, partitioned by
    HEALPix (HATS)."""
    gaia: tuple[Path, ...] = ()
    """Tables of Gaia sources, or folders of such, in any format."""
    select: CatalogueSelect = "all"
    unflagged: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Leave out every star with a flag."""
    where: str = ""
    """Leave out every star that does not pass, such as "teff_xp < 5000 and flags & DWARF == 0"."""
    figures: Path | None = None
    """Folder for Figures 10 and 11; beside the catalogue by default."""
    overwrite: Overwrite = False

    def run(self) -> int:
        """Merge the parts; 1 where what they come from is not complete."""
        figures = self.figures or self.out.with_name(f"{self.out.stem}_figures")
        check_files(self.gaia, "--gaia", folders=True)
        for name in FIGURES:
            check_new(figures / f"{name}.png", overwrite=self.overwrite, option="--figures")
        from aspgap_jax import plots
        from aspgap_jax.catalogue.merge import build_catalogue
        from aspgap_jax.catalogue.parts import find_parts, read_manifest
        from aspgap_jax.preprocessing.cuts import format_cuts

        whole = True
        for folder in dict.fromkeys(file.parent for file in find_parts(self.parts).files):
            predicted = read_manifest(folder)
            print(f"{folder}: {predicted}")
            whole &= predicted.complete
        built = build_catalogue(
            self.parts,
            self.out,
            gaia=self.gaia,
            select=self.select,
            unflagged=self.unflagged,
            where=self.where,
            overwrite=self.overwrite,
        )
        say(built.remarks)
        print(format_cuts(built.cuts))
        if out := built.cuts[0].left - built.cuts[-1].left:
            print(f"{out:,} of {built.cuts[0].left:,} rows were left out by these cuts")
        if built.repeated:
            print(f"{built.repeated:,} rows of stars that were there already were left out")
        if built.absent:
            print(f"absent columns of Table 2: {', '.join(built.absent)}")
        rgb, labels = FIGURES
        drawn = {}
        if built.kiel is None or built.abundance is None:
            print("Figures 10 and 11 need teff, logg, m_h and alpha_m: the parts have other labels")
        else:
            drawn[labels] = plots.catalogue_labels(built.kiel, built.abundance)
        if built.colour_magnitude is not None:
            drawn[rgb] = plots.rgb_selection(built.colour_magnitude)
        elif drawn:
            print("Figure 10 needs parallaxes and G magnitudes: pass --gaia TABLE")
        for name, figure in sorted(drawn.items()):
            plots.save(figure, figures / f"{name}.png")
            print(f"wrote {figures / name}.png")
        print(f"wrote {built.rows:,} stars to {self.out}")
        if not whole:
            say(["the predictions are not whole: the catalogue lacks what they lost, named above"])
        return 0 if whole else 1
