"""Commands about what is installed: doctor, instrument-matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aspgap_jax.commands.options import Overwrite
from aspgap_jax.files.access import check_new

__all__ = ["Doctor", "InstrumentMatrix"]


@dataclass(frozen=True)
class Doctor:
    """What is installed here and whether it works: versions, devices, data, and what is missing,
    with the line that adds it.

    Examples::

        aspgap doctor
        aspgap doctor --log doctor.log --quiet
    """

    def run(self) -> int:
        """Examine the installation; 1 where something does not work."""
        from aspgap_jax.suite.installation import examine, report

        text, works = report(examine())
        print(text)
        return 0 if works else 1


@dataclass(frozen=True)
class InstrumentMatrix:
    """The matrix that samples the coefficients of a Gaia release, from an installed GaiaXPy.

    Examples::

        aspgap instrument-matrix --release dr4 --models BP RP --out dr4.npz
    """

    release: str
    """Gaia release of the coefficients (dr3, dr4)."""
    out: Path
    """File to write (.npz), for `aspgap predict --instrument`."""
    models: tuple[str, str] | None = None
    """Names that GaiaXPy has for its models of BP and RP; by default those known for the
    release."""
    overwrite: Overwrite = False

    def run(self) -> int:
        """Write the matrix."""
        check_new(self.out, overwrite=self.overwrite)
        from aspgap_jax.survey.xp.instrument import Instrument, instrument_model, write_instrument

        model = instrument_model(self.release, self.models)
        write_instrument(self.out, Instrument(self.release, model.bp.shape[1], model.matrix))
        print(f"wrote {' x '.join(map(str, model.matrix.shape))} to {self.out}")
        return 0
