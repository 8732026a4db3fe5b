"""What is installed here, and whether it works: ``aspgap doctor``."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import aspgap_jax
from aspgap_jax.errors import InputError
from aspgap_jax.extras import MEANINGS, cure, needed
from aspgap_jax.labels import LABELS
from aspgap_jax.prediction.predictor import Predictor
from aspgap_jax.prediction.spectra import instrument_matrix
from aspgap_jax.runtime.parallel import check_devices
from aspgap_jax.survey.sample import sample_path

__all__ = ["Finding", "examine", "report"]

WIDTH = 28
NVIDIA = Path("/proc/driver/nvidia/version")
"""There where a machine has an NVIDIA GPU and its driver."""


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        part: of the report.
        name: what it is.
        found: what there is of it.
        fault: why the package does not work, or ``""``.
        hint: what would add something, or ``""``.
    """

    part: str
    name: str
    found: str
    fault: str = ""
    hint: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything the package needs or can use.

    Yields:
        Findings, those of a part together.
    """
    yield Finding("here", "aspgap-jax", f"{aspgap_jax.__version__} in {aspgap_jax.__path__[0]}")
    yield Finding("here", "Python", f"{platform.python_version()}, {platform.platform()}")
    for one in needed():
        fault = "" if one.fits else f'needs {one.requirement}: pip install "{one.requirement}"'
        yield Finding("packages", one.requirement, one.version or "absent", fault)
    yield _try("devices", "JAX", _devices)
    if NVIDIA.is_file() and jax.default_backend() == "cpu":
        yield Finding("devices", "GPU", "not used by JAX", hint=cure("cuda12"))
    yield Finding("devices", "memory", f"{os.cpu_count()} CPU cores, {_memory():.1f} GB of memory")
    yield _try("data", "instrument matrix", _matrix)
    yield _try("data", "released bundle", _bundle)
    # Not an error: whoever has data of their own does not need it.
    try:
        yield Finding("data", "real sample", str(sample_path()))
    except InputError as error:
        yield Finding("data", "real sample", "absent", hint=str(error))
    if folder := os.environ.get("ASPGAP_SHARED"):
        there = "" if Path(folder).is_dir() else "no such folder"
        yield Finding("data", "files of the tests", f"ASPGAP_SHARED={folder} {there}".strip())
    for extra, meaning in MEANINGS.items():
        if not extra or extra == "cuda12":
            continue
        wanted = needed(extra)
        absent = [one for one in wanted if not one.fits]
        found = ", ".join(f"{one.requirement} {one.version}" for one in wanted if one.fits)
        hint = f"for {meaning}: {cure(extra)}" if absent else ""
        yield Finding("optional", extra, found or "absent", hint=hint)


def report(findings: Iterator[Finding]) -> tuple[str, bool]:
    """Findings as text.

    Args:
        findings: of :func:`examine`.

    Returns:
        The text, and whether the package works.
    """
    lines, faults, part = [], [], ""
    for one in findings:
        if one.part != part:
            part = one.part
            lines.append(part)
        lines.append(f"  {one.name:<{WIDTH}} {one.found}")
        if one.fault:
            lines.append(f"  {'':<{WIDTH}} FAULT: {one.fault}")
            faults.append(f"{one.name}: {one.fault}")
        if one.hint:
            lines.append(f"  {'':<{WIDTH}} {one.hint}")
    if faults:
        lines.append(f"it does not work: {'; '.join(faults)}")
    else:
        lines.append("everything that is needed is here and works")
    return "\n".join(lines), not faults


def _try(part: str, name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(part, name, look())
    # Whatever it is, it is what the user wants to know.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return Finding(part, name, "does not work", fault=reason)


def _devices() -> str:
    check_devices()
    kinds = [f"{device.platform} ({device.device_kind})" for device in jax.devices()]
    counts = [f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)]
    return f"{', '.join(counts)}; jaxlib {metadata.version('jaxlib')}"


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _matrix() -> str:
    return "Gaia DR3, " + " x ".join(map(str, instrument_matrix().shape))


def _bundle() -> str:
    predictor = Predictor()
    # A flat spectrum of no star: what counts is that numbers come out.
    flat = np.full((1, predictor.info.n_xp), 2e-17)
    predicted = predictor.arrays(flat, flat / 100, representation="sampled")
    if not all(np.isfinite(predicted[label.catalogue][0]) for label in LABELS):
        raise InputError("it gives no numbers")
    names = ", ".join(predictor.info.label_names)
    return f"{len(predictor.info.members)} networks; it predicts {names}"
