"""Scripts under experiments/ as modules."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from support import ROOT

EXPERIMENTS = ROOT / "experiments"


def load_experiment(name: str) -> ModuleType:
    """Import a script by its path below experiments/, without suffix: ``studies/grid_search``."""
    spec = importlib.util.spec_from_file_location(
        f"experiments.{name.replace('/', '.')}", EXPERIMENTS / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their annotations up there
    spec.loader.exec_module(module)
    return module
