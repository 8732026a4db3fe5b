"""The command line: parses and calls; no logic lives here."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

from aspgap_jax.config import PRESETS, Config, from_json
from aspgap_jax.errors import InputError

__all__ = ["main"]

Selection = Literal["giants", "table_1", "usable"]
DEFAULTS: ContextVar[Config] = ContextVar("defaults", default=PRESETS["compact"])
"""What the options of a command start from: a preset, or a file."""
Settled = Annotated[Config, tyro.conf.arg(name="")]

DESCRIPTION = "AspGap: stellar labels, with uncertainties, from Gaia XP spectra."

PRESET_HELP = """
Every setting below can be changed by its option. --preset NAME sets the defaults first:
compact (two CPU cores, minutes; the default), paper (Li et al. 2023), released_code (the
differences of the released PyTorch code). --config FILE.json takes them from a file.
"""


@dataclass(frozen=True)
class Demo:
    """The whole of AspGap on the real sample: cross-validation, figures, catalogue, report."""

    out: Path = Path("aspgap-demo")
    """Folder of the run. The same command goes on where it was interrupted."""
    select: Selection = "giants"
    """Which stars: the benchmark's giants, the paper's Table 1, or all that are usable."""
    config: Settled = field(default_factory=DEFAULTS.get)

    def run(self) -> int:
        from aspgap_jax import evaluation, pipeline

        pipeline.cross_validate(
            self.out, pipeline.Settings("sample", self.select, True, self.config)
        )
        print(evaluation.evaluate(self.out))
        return 0


@dataclass(frozen=True)
class _Training:
    out: Path
    """Folder of the run. The same command goes on where it was interrupted."""
    data: str = "sample"
    """The real sample, or a training store (HDF5)."""
    select: Selection = "giants"
    """Which stars: the benchmark's giants, the paper's Table 1, or all that are usable."""
    config: Settled = field(default_factory=DEFAULTS.get)


@dataclass(frozen=True)
class Train(_Training):
    """Train on all stars and write a bundle for `aspgap predict`."""

    def run(self) -> int:
        from aspgap_jax import pipeline

        pipeline.train(self.out, pipeline.Settings(self.data, self.select, False, self.config))
        print(f"wrote {self.out / 'bundle'}")
        return 0


@dataclass(frozen=True)
class Crossval(_Training):
    """Train on folds and predict every star by those that have not seen it."""

    def run(self) -> int:
        from aspgap_jax import pipeline

        pipeline.cross_validate(
            self.out, pipeline.Settings(self.data, self.select, True, self.config)
        )
        print(f"wrote {self.out / 'predictions.h5'} and {self.out / 'bundle'}")
        return 0


@dataclass(frozen=True)
class Predict:
    """Labels for stars from a trained bundle."""

    input: Annotated[str, tyro.conf.Positional]
    """The real sample ("sample"), or a training store (HDF5)."""
    bundle: Path
    """A bundle, or the folder of a run."""
    out: Path
    """File to write: predictions as .h5, or the catalogue's columns as .fits."""
    select: Selection | Literal["spectra"] = "spectra"
    """Which stars: all with a whole spectrum, all with labels too, or a training selection."""

    def run(self) -> int:
        from aspgap_jax import pipeline

        print(pipeline.predict_file(self.input, self.select, self.bundle, self.out))
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Metrics, figures, catalogue and report of a cross-validation."""

    run_folder: Annotated[Path, tyro.conf.Positional]
    """Folder of `aspgap crossval` or `aspgap demo`."""

    def run(self) -> int:
        from aspgap_jax import evaluation

        print(evaluation.evaluate(self.run_folder))
        return 0


@dataclass(frozen=True)
class Prepare:
    """Join XP spectra, Gaia columns and APOGEE labels into a training store."""

    xp: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """XP spectra: bulk csv.gz, DataLink CSV, ECSV, FITS, VOTable, HDF5, or an XP store."""
    allstar: Path
    """APOGEE's allStar file (FITS)."""
    out: Path
    """Training store to write (HDF5)."""
    gaia: tuple[Path, ...] = ()
    """Tables with source_id and phot_g_mean_mag (CSV, ECSV, FITS, VOTable), and further
    Gaia columns. None: the Gaia columns that allStar repeats."""
    spectra: Path | None = None
    """Folder with aspcapStar or apStar files, in any depth, for the APOGEE decoder."""
    select: Selection = "table_1"
    """Which stars: the paper's Table 1, the benchmark's giants, or all that are usable."""
    min_snr_low: float = 100.0
    """Least S/N of the coefficients 1-10, in both bands (Fig. 1)."""
    min_snr_high: float = 1.0
    """Least S/N of the coefficients 11-55, in both bands (Fig. 1)."""

    def run(self) -> int:
        from aspgap_jax.selection import format_cuts
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
        )
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
    """XP files of any format; an _MD5SUM.txt beside them is checked."""
    out: Path
    """Folder of the store: a part a file, and manifest.json."""
    processes: int | None = None
    """Files read at a time; one a CPU core by default."""

    def run(self) -> int:
        from aspgap_jax.survey.ingest import ingest

        done = ingest(self.files, self.out, processes=self.processes)
        print(done)
        return 1 if done.with_status("failed") else 0


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
    pixels: tuple[int, int] | None = None
    """First and last HEALPix pixel of level 8, where the stars lie."""
    listing: Path | None = None
    """The bulk folder's _MD5SUM.txt (bulk_list)."""
    server: str | None = None
    """Archive to ask; Gaia's own by default."""

    def run(self) -> int:
        from aspgap_jax.survey import bulk, fetch, gaia

        ids = None if self.ids is None else gaia.read_source_ids(self.ids)
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
            done = fetch.fetch_sky(*self.pixels, self.out, server=self.server)
        elif ids is None:
            raise InputError(f"fetch {self.what}: give the stars as --ids TABLE")
        elif self.what == "gaia_source":
            done = fetch.fetch_sources(ids, self.out, server=self.server)
        else:
            done = fetch.fetch_spectra(ids, self.out, kind=self.what.upper(), server=self.server)
        for name, error in done.failed_parts.items():
            print(f"aspgap: {name}: {error}", file=sys.stderr)
        print(
            f"{done.delivered:,} of {done.requested:,} stars delivered, {len(done.missing):,} "
            f"missing in the archive, {len(done.failed):,} failed; wrote {self.out}"
        )
        return 1 if done.failed_parts else 0


Command = Demo | Prepare | Ingest | Fetch | Train | Crossval | Predict | Evaluate
COMMANDS: tuple[type[Command], ...] = (
    Demo,
    Prepare,
    Ingest,
    Fetch,
    Train,
    Crossval,
    Predict,
    Evaluate,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0: done. 1: done in part; what failed was named. 2: the input cannot be used; one
    line says why. 130: interrupted; the same command resumes.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        arguments, config = take_defaults(arguments)
        return parse(arguments, config).run()
    except InputError as error:
        print(f"aspgap: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        state = str(interrupt) or "run the same command to continue"
        print(f"aspgap: interrupted: {state}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"aspgap: {error}", file=sys.stderr)
        return 2


def take_defaults(arguments: list[str]) -> tuple[list[str], Config]:
    """Take ``--preset NAME`` and ``--config FILE`` out of the arguments.

    They decide the defaults that every other option changes, so they come first.
    """
    rest: list[str] = []
    config = PRESETS["compact"]
    options = iter(arguments)
    for option in options:
        name, equals, value = option.partition("=")
        if name not in ("--preset", "--config"):
            rest.append(option)
            continue
        if not equals:
            value = next(options, "")
        if name == "--preset":
            if value not in PRESETS:
                raise InputError(f"--preset {value}: no such preset; one of {', '.join(PRESETS)}")
            config = PRESETS[value]
        else:
            try:
                text = Path(value).read_text(encoding="utf-8")
            except OSError as error:
                raise InputError(f"--config {value}: {error.strerror or error}") from None
            config = from_json(text, source=value)
    return rest, config


def parse(arguments: list[str], config: Config) -> Command:
    """The command that the arguments ask for.

    Raises:
        InputError: an unknown command, option or field, or a value of another type.
    """
    commands: Any = Union[tuple(subcommand(command) for command in COMMANDS)]  # noqa: UP007
    errors = io.StringIO()
    token = DEFAULTS.set(config)
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(commands, args=arguments, prog="aspgap", description=DESCRIPTION)
    except SystemExit as exit_:
        if not exit_.code:
            raise
        raise InputError(one_line(errors.getvalue())) from None
    finally:
        DEFAULTS.reset(token)


def subcommand(command: type[Command]) -> Any:
    """A command as tyro takes it: named and described."""
    description = command.__doc__ or ""
    if "config" in (field.name for field in fields(command)):
        description = f"{description}\n{PRESET_HELP}"
    name = command.__name__.lower()
    return Annotated[command, tyro.conf.subcommand(name, description=description)]


def one_line(message: str) -> str:
    """The first paragraph of a boxed, wrapped message, as one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    box = re.split(r"─{10,}", re.sub(r"^[╭╰].*$", "", plain, flags=re.MULTILINE))[0]
    line = " ".join(box.replace("│", " ").split())
    line = re.sub(r"Error parsing \S*config\.", "", line)
    return f"{line} (see aspgap --help)"
