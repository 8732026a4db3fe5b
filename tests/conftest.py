"""Strict numerics for every test: no silent broadcasting, four emulated devices."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version

# Before JAX starts. What the tests start in processes of their own inherits it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Sharding tests need several devices, here emulated on the CPU.
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
# Tests compile much and compute little: plain programs take a third of the time to compile.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if version("jaxlib").startswith("0.10."):  # where it is unknown, a flag ends the process
    os.environ["XLA_FLAGS"] = " ".join(
        [os.environ.get("XLA_FLAGS", ""), "--xla_cpu_use_fusion_emitters=false"]
    ).strip()

# What many tests compile is compiled once: workers, and the processes that they start, share it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="aspgap-compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

from collections.abc import Iterator
from pathlib import Path

import jax
import matplotlib
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def figures_as_they_are() -> Iterator[None]:
    """What a test imports (GaiaXPy) must not change how the next one draws."""
    with matplotlib.rc_context():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real files that are not part of the package; tests skip where they are absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("ASPGAP_SHARED", default))
    if not (folder / "data").is_dir():
        pytest.skip(f"the shared data folder {folder} is absent (set ASPGAP_SHARED)")
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small cross-validation of made-up giants."""
    # Not at the top: devices are emulated before JAX starts.
    from support.small_run import make_run

    return make_run(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small cross-validation of giants of the real sample."""
    from support.small_run import make_sample_run

    return make_sample_run(tmp_path_factory.mktemp("sample"))
