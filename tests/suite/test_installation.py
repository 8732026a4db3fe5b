"""What the doctor finds, and what it says of what is missing."""

from __future__ import annotations

import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from aspgap_jax import extras
from aspgap_jax.extras import MEANINGS, Needed, cure, needed
from aspgap_jax.prediction.bundle import load_bundle
from aspgap_jax.suite import installation
from aspgap_jax.suite.installation import Finding, examine, report
from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_a_working_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = {one.name: one for one in examine()}
    assert not [one for one in findings.values() if one.fault]
    assert metadata.version("jaxlib") in findings["JAX"].found
    assert findings["instrument matrix"].found == "Gaia DR3, 343 x 110"
    members = len(load_bundle()[1].members)
    assert findings["released bundle"].found.startswith(f"{members} networks; it predicts teff, ")
    text, works = report(iter(findings.values()))
    assert works
    assert text.splitlines()[-1] == "everything that is needed is here and works"


def test_what_is_broken_is_a_fault_and_what_is_absent_has_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def damaged() -> None:
        raise ValueError("a damaged\nfile")

    def wanted(extra: str = "") -> list[Needed]:
        return [Needed("numpy>=99", "2.0", False)] if not extra else [Needed("b>=3", "", False)]

    monkeypatch.setattr(installation, "Predictor", damaged)
    monkeypatch.setattr(installation, "needed", wanted)
    monkeypatch.setattr(extras, "needed", wanted)
    text, works = report(examine())
    assert not works
    assert 'FAULT: needs numpy>=99: pip install "numpy>=99"' in text
    assert "FAULT: a damaged file" in text
    assert f'for {MEANINGS["dynamics"]}: pip install "b>=3"' in text
    # What is only absent is no fault.
    assert report(iter([Finding("optional", "x", "absent", hint="a line")]))[1]


def test_extras_are_those_of_the_project() -> None:
    optional = PROJECT["optional-dependencies"]
    assert set(MEANINGS) - {""} <= set(optional)

    def requirements(texts: list[str]) -> list[Requirement]:
        return [Requirement(text) for text in texts]

    for extra in filter(None, MEANINGS):
        found = [one.requirement for one in needed(extra)]
        assert requirements(found) == requirements(optional[extra])
        assert cure(extra) == " ".join(["pip install", *(f'"{text}"' for text in found)])
    installed = metadata.requires(PROJECT["name"]) or []
    always = [text for text in installed if "extra ==" not in text]
    assert requirements([one.requirement for one in needed()]) == requirements(always)
    assert all(one.fits for one in needed())
