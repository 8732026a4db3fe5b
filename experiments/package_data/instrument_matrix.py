"""The instrument matrix of Gaia DR3 that the package carries, from an installed GaiaXPy.

It has 343 rows, samples in W m^-2 nm^-1, and a column for each BP and RP coefficient in e-/s,
as GaiaXPy's `calibrate` forms them for stars with both bands (v375wi + v142r). Those of other
releases are files, made by `aspgap instrument-matrix` for `aspgap predict --instrument FILE`.

Run: python experiments/package_data/instrument_matrix.py
Expect: "343 x 110, unchanged", unless GaiaXPy has a new instrument model.
Needs `pip install GaiaXPy`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import aspgap_jax
from aspgap_jax.files.atomic import replace_file
from aspgap_jax.survey.xp.instrument import instrument_model
from aspgap_jax.survey.xp.releases import DEFAULT, RELEASES


def main() -> None:
    """Write the matrix, and say whether it has changed."""
    matrix = instrument_model(DEFAULT).matrix
    size = " x ".join(map(str, matrix.shape))
    path = Path(aspgap_jax.__file__).parent / "data" / str(RELEASES[DEFAULT].matrix)
    if path.is_file() and np.array_equal(np.load(path, allow_pickle=False), matrix):
        print(f"{path}: {size}, unchanged")
        return
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, matrix, allow_pickle=False)
    print(f"{path}: {size}, written")


if __name__ == "__main__":
    main()
