"""From source ids to labels: label."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from aspgap_jax.commands.options import EXPERT, Flattened, GivenIds, Overwrite, say
from aspgap_jax.config import PredictOptions
from aspgap_jax.errors import InputError
from aspgap_jax.files.access import check_files, check_new

__all__ = ["LabelCommand"]


@dataclass(frozen=True)
class LabelCommand:
    """Labels of stars by their Gaia source ids: fetches spectra, G, positions and ruwe.

    Examples::

        aspgap label 5853498713190525696 5762406957886626816
        aspgap label --ids my_stars.fits --out labels.csv
        aspgap label --adql "SELECT TOP 9 source_id FROM gaiadr3.gaia_source"
    """

    source_ids: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Gaia DR3 source ids, or designations ("Gaia DR3 5853498713190525696")."""
    ids: Path | None = None
    """Table with a column of source ids, in any format."""
    given: Annotated[GivenIds, Flattened] = field(default_factory=GivenIds)
    """Of --ids."""
    adql: str = ""
    """Query of the Gaia archive whose answer has a column source_id."""
    out: Path | None = None
    """A .fits, .h5, .parquet, .csv, .ecsv or .vot file with a row for each id."""
    overwrite: Overwrite = False
    bundle: Path | None = None
    """A bundle, or the folder of a run; the released bundle by default."""
    cache: Path | None = None
    """Folder of what was fetched before; ~/.cache/aspgap-jax/archive by default."""
    server: str | None = None
    """Archive to ask; Gaia's own by default."""
    attempts: Annotated[int, EXPERT] = 4
    """How often a request is made before it counts as failed."""
    wait: Annotated[float, EXPERT] = 5.0
    """Seconds before the second attempt; twice as long before each further one."""
    options: Annotated[PredictOptions, Flattened, EXPERT] = field(default_factory=PredictOptions)
    show: int = 20
    """Stars to print."""

    def run(self) -> int:
        """Label the stars; 1 where one was lost, each of which is named.

        Raises:
            InputError: none of the three ways to name stars is used, or several are.
        """
        if [bool(self.source_ids), self.ids is not None, bool(self.adql)].count(True) != 1:
            raise InputError("label: give source ids, or --ids TABLE, or --adql QUERY")
        if self.out is not None:
            from aspgap_jax.files.tables import check_suffix

            check_suffix(self.out)
            check_new(self.out, overwrite=self.overwrite)
        check_files([] if self.ids is None else [self.ids], "--ids")
        from aspgap_jax.files.tables import write_table
        from aspgap_jax.prediction.answers import REASON
        from aspgap_jax.prediction.output import format_stars
        from aspgap_jax.prediction.predictor import Predictor
        from aspgap_jax.runtime.parallel import check_devices
        from aspgap_jax.survey.by_id import Lookup, ids_of_query

        check_devices()
        predictor = Predictor(self.bundle, self.options)
        lookup = Lookup(self.cache, self.server, attempts=self.attempts, wait_s=self.wait)
        wanted = self.source_ids or self._of_table()
        if self.adql:
            wanted = tuple(map(str, ids_of_query(self.adql, lookup.archive()).tolist()))
        found = predictor.looked_up(wanted, lookup)
        say(found.lines)
        columns = {spec.name: found.columns[spec.name] for spec in found.specs}
        if self.show:
            first = {name: values[: self.show] for name, values in columns.items()}
            print(format_stars(first, predictor.info.config.labels))
        known = int((columns[REASON.name] == "").sum())
        print(f"{known:,} of {len(columns[REASON.name]):,} stars have labels")
        if self.out is not None:
            # The reasons are text, which not every format holds: they were said.
            with write_table(self.out, [s for s in found.specs if s != REASON]) as table:
                table.append(columns)
            print(f"wrote {self.out}")
        return 1 if found.lines else 0

    def _of_table(self) -> tuple[str, ...]:
        if self.ids is None:
            return ()
        from dataclasses import astuple

        from aspgap_jax.survey.gaia import read_source_ids
        from aspgap_jax.survey.ids import IdChoice
        from aspgap_jax.survey.tables import Remarks

        remarks = Remarks()
        ids = read_source_ids(self.ids, IdChoice(*astuple(self.given)), remarks)
        say(remarks.lines)
        return tuple(map(str, ids.tolist()))
