from __future__ import annotations

import signal

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from aspgap_jax.runtime import processes
from aspgap_jax.runtime.interruption import Interruption


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
    assert not processes.agree(interruption)
    assert interruption.requested is None
    interruption.requested = signal.SIGINT
    assert processes.agree(interruption)
    assert interruption.requested == signal.SIGINT


def test_a_signal_that_comes_while_processes_agree_waits_for_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two processes, here one: the other has seen nothing of the signal."""
    interruption = Interruption()

    def gather(mine: np.ndarray) -> np.ndarray:
        interruption.requested = signal.SIGTERM
        return np.array([mine, 0])

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    assert not processes.agree(interruption), "alone it must not stop"
    assert processes.agree(interruption)
    assert interruption.requested == signal.SIGTERM
