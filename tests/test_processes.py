from __future__ import annotations

import signal

import numpy as np
import pytest

from aspgap_jax import processes
from aspgap_jax.interruption import Interruption


def test_with_one_process_all_is_a_plain_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert processes.by_main(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        processes.by_main(lambda: 1 // 0)
    tree = {"a": np.arange(3)}
    assert processes.from_main(tree, {"a": np.zeros(3)}) is tree
    processes.announce("once")
    assert capsys.readouterr().out == "once\n"


def test_one_process_agrees_with_itself() -> None:
    interruption = Interruption()
    processes.agree(interruption)
    assert interruption.requested is None
    interruption.requested = signal.SIGINT
    processes.agree(interruption)
    assert interruption.requested == signal.SIGINT
