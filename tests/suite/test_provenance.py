"""Checksums and what is absent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import aspgap_jax
from aspgap_jax.suite.provenance import provenance


def test_files_carry_their_checksum_or_are_said_to_be_absent(tmp_path: Path) -> None:
    file = tmp_path / "a.h5"
    file.write_bytes(b"spectra")
    facts = provenance({"predictions": file, "config": tmp_path / "none.json"})
    assert hashlib.sha256(b"spectra").hexdigest()[:16] in facts["predictions"]
    assert facts["config"].endswith("none.json (absent)")
    assert facts["aspgap-jax"] == aspgap_jax.__version__
    assert facts["date"].endswith("UTC")
