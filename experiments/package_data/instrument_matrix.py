"""The instrument matrix that the package carries, from GaiaXPy.

Writes aspgap_jax/data/xp_instrument.npy: 343 x 110, float64, samples in
W m^-2 nm^-1 from BP and RP coefficients in e-/s, as GaiaXPy's `calibrate` forms
them for stars with both bands (Gaia DR3, v375wi + v142r).

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


def main() -> None:
    """Write the matrix, and say whether it has changed."""
    path = Path(aspgap_jax.__file__).parent / "data" / "xp_instrument.npy"
    matrix = instrument_model().matrix
    size = " x ".join(map(str, matrix.shape))
    if path.is_file() and np.array_equal(np.load(path, allow_pickle=False), matrix):
        print(f"{path}: {size}, unchanged")
        return
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, matrix, allow_pickle=False)
    print(f"{path}: {size}, written")


if __name__ == "__main__":
    main()
