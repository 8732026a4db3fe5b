"""The instrument matrix of a Gaia release, from an installed GaiaXPy.

It has 343 rows, samples in W m^-2 nm^-1, and a column for each BP and RP coefficient in e-/s,
as GaiaXPy's `calibrate` forms them for stars with both bands. That of DR3 (v375wi + v142r)
comes with the package, aspgap_jax/data/xp_instrument.npy; others are files for
`aspgap predict --instrument FILE`.

Run: python experiments/package_data/instrument_matrix.py
Expect: "343 x 110, unchanged", unless GaiaXPy has a new instrument model.
Of another release, with the names that its GaiaXPy has for the models of BP and RP:
     python experiments/package_data/instrument_matrix.py --release dr4 --models BP RP --out dr4.npz
Needs `pip install GaiaXPy`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import aspgap_jax
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.survey.xp.instrument import Instrument, instrument_model, write_instrument
from aspgap_jax.survey.xp.releases import DEFAULT, RELEASES


def main() -> None:
    """Write the matrix, and say whether it has changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", choices=RELEASES, default=DEFAULT)
    parser.add_argument("--models", nargs=2, metavar=("BP", "RP"), help="names in GaiaXPy")
    parser.add_argument("--out", type=Path, help="file of another release's matrix (.npz)")
    args = parser.parse_args()
    model = instrument_model(args.release, tuple(args.models) if args.models else None)
    size = " x ".join(map(str, model.matrix.shape))
    if args.out is not None:
        made = Instrument(args.release, model.bp.shape[1], model.matrix)
        write_instrument(args.out, made)
        print(f"{args.out}: {size}, written")
        return
    if args.release != DEFAULT or args.models:
        parser.error("name a file for it by --out")
    path = Path(aspgap_jax.__file__).parent / "data" / str(RELEASES[DEFAULT].matrix)
    if path.is_file() and np.array_equal(np.load(path, allow_pickle=False), model.matrix):
        print(f"{path}: {size}, unchanged")
        return
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, model.matrix, allow_pickle=False)
    print(f"{path}: {size}, written")


if __name__ == "__main__":
    main()
