"""Emulated APOGEE spectra: a differentiable line synthesis of the H band.

Stands in for APOGEE files when the decoder is pre-trained: labels in,
continuum-normalised flux on the apStar grid out. The physics is textbook
(local thermodynamic equilibrium, one-dimensional, Milne-Eddington source
function); a few constants are fitted once to an emulator of Kurucz spectra
(``calibration``). Call what comes out *emulated* spectra: they are not
observations and not a replacement for a full spectral synthesis.

Imports run one way: ``species <- chemistry, calibration <- atmosphere;
grid <- lines; profiles, transfer <- spectrum``.
"""

from aspgap_jax.synthesis.calibration import CALIBRATION, Constants
from aspgap_jax.synthesis.lines import LineList, load_lines
from aspgap_jax.synthesis.spectrum import synthesize, synthesize_in_batches

__all__ = [
    "CALIBRATION",
    "Constants",
    "LineList",
    "load_lines",
    "synthesize",
    "synthesize_in_batches",
]
