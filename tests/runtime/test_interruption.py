from __future__ import annotations

import os
import signal
import threading

import pytest

from aspgap_jax.runtime.interruption import Preempted, interruptible

BOTH = (signal.SIGINT, signal.SIGTERM)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in BOTH]


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)]
)
def test_signals_raise_at_once_and_the_handlers_come_back(
    number: int, raised: type[BaseException]
) -> None:
    def work() -> None:
        with interruptible():
            assert handlers() != before
            send(number)
            pytest.fail("the signal should have raised")

    before = handlers()
    with pytest.raises(raised):
        work()
    assert handlers() == before


def test_who_is_preempted_exits_with_75_and_says_what_is_saved() -> None:
    stop = Preempted("epoch 3 is saved")
    assert isinstance(stop, SystemExit)
    assert stop.code == 75 == os.EX_TEMPFAIL
    assert stop.state == "epoch 3 is saved"


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)]
)
def test_deferred_signals_wait_to_be_obeyed(number: int, raised: type[BaseException]) -> None:
    def work() -> None:
        with interruptible() as interruption, interruption.deferred():
            send(number)
            done.append("saved")
            assert interruption.requested == number
            interruption.obey("epoch 3 is saved")

    done: list[str] = []
    with pytest.raises(raised):
        work()
    assert done == ["saved"]


def test_a_deferred_signal_is_not_forgotten() -> None:
    def work() -> None:
        with interruptible() as interruption:
            with interruption.deferred():
                with interruption.deferred():
                    send(signal.SIGTERM)
                done.append("the inner one does not end the waiting")
            pytest.fail("the end of deferred() should have raised")

    done: list[str] = []
    with pytest.raises(Preempted):
        work()
    assert done


def test_the_second_ctrl_c_does_not_wait() -> None:
    def work() -> None:
        with interruptible() as interruption, interruption.deferred():
            send(signal.SIGINT)
            done.append("first")
            send(signal.SIGINT)
            done.append("second")

    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["first"]


def test_outside_of_the_main_thread_nothing_is_handled() -> None:
    before, seen = handlers(), []

    def work() -> None:
        with interruptible() as interruption, interruption.deferred():
            seen.append((interruption.requested, handlers() == before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, True)]
