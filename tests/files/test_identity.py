"""Inputs by path and content; parts by name, then by path."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from aspgap_jax.files import identity
from aspgap_jax.files.identity import Input, content_of, name_parts


def test_a_small_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert content_of(path) == (3, f"sha256:{hashlib.sha256(b'one').hexdigest()}")
    before = content_of(path)
    os.utime(path, ns=(1, 1))
    assert content_of(path) == before
    path.write_bytes(b"two")
    assert content_of(path) != before


def test_a_large_file_is_known_by_blocks_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "WHOLE", 1000)
    monkeypatch.setattr(identity, "BLOCK", 10)
    path = tmp_path / "a"
    data = bytearray(2000)

    def content() -> identity.Content:
        path.write_bytes(data)
        os.utime(path, ns=(5, 5))
        return content_of(path)

    before = content()
    assert before.size == 2000
    assert before.digest.startswith("blocks:")
    assert content() == before
    for place in (0, 1999):
        data[place] ^= 1
        assert content() != before
        data[place] ^= 1
    # Between the blocks a change does not show, but its time does.
    data[20] ^= 1
    assert content() == before
    os.utime(path, ns=(6, 6))
    assert content_of(path) != before


def test_names_of_parts() -> None:
    a, b, c = (Input("x.csv", f"/{folder}/x.csv") for folder in "abc")
    other = Input("x.fits", "/a/x.fits")
    parts: dict[str, str] = {}

    def belongs(name: str, each: Input) -> bool | None:
        return parts[name] == each.path if name in parts else None

    def named(*inputs: Input) -> list[str]:
        return list(name_parts(inputs, ".h5", belongs))

    digest = hashlib.sha256(b"/b/x.csv").hexdigest()[:8]
    assert named(a, b, other) == ["x.csv.h5", f"x.csv.{digest}.h5", "x.fits.h5"]
    assert named(b) == ["x.csv.h5"]
    # What is there keeps its name, whatever the order.
    parts["x.csv.h5"] = b.path
    assert named(a, b)[1] == "x.csv.h5"
    assert len(set(named(a, b, c))) == 3
    parts[named(a)[0]] = a.path
    del parts["x.csv.h5"]
    assert named(a) != ["x.csv.h5"]
    assert named(b, a)[0] == "x.csv.h5"
