"""The command that shows one star: card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from aspgap_jax.commands.options import Overwrite
from aspgap_jax.errors import InputError
from aspgap_jax.files.access import check_new

__all__ = ["Card"]


@dataclass(frozen=True)
class Card:
    """Everything about one star on a page: spectrum, labels, flags, stars like it, what decided.

    Examples::

        aspgap card my_xp.fits --id 5853498713190525696
        aspgap card sample --id 1220235706700177024 --run aspgap-demo --out s.pdf
    """

    spectra: Annotated[str, tyro.conf.Positional]
    """XP spectra in any format: a file, a folder, a store, or the real sample ("sample")."""
    id: int | None = None
    """Gaia source id; not needed where there is one star."""
    bundle: Annotated[Path | None, tyro.conf.arg(aliases=["--run"])] = None
    """A bundle, or the folder of a run, whose training stars and hallucinator are then shown; by
    default the released bundle, beside the stars of the real sample."""
    out: Path | None = None
    """A .png or .pdf file; by default a .png called after the star."""
    overwrite: Overwrite = False

    def run(self) -> int:
        """Draw the page.

        Raises:
            InputError: the spectra cannot be used, or the file is no picture or may not be
            replaced.
        """
        if self.out is not None:
            check_new(self.out, overwrite=self.overwrite)
            if self.out.suffix.lower() not in (".png", ".pdf"):
                raise InputError(f"--out {self.out}: a card is a .png or a .pdf file")
        from aspgap_jax import plots
        from aspgap_jax.suite.star_card import card_of

        card = card_of(self.spectra, self.id, bundle=self.bundle)
        out = self.out
        if out is None:
            out = Path(f"star-{card.source_id}.png")
            check_new(out, overwrite=self.overwrite)
        plots.save(plots.star_card(card), out)
        for note in card.notes:
            print(note)
        print(f"wrote {out}")
        return 0
