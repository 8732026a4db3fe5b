"""Nothing is lost: a bar, a log and checkpoints, told of every epoch by a loop.

Below the folder of a run::

    log.jsonl                 diagnostics, one line an epoch and member
    checkpoints/pretraining   states of the APOGEE decoders' pre-training
    checkpoints/training      states of the joint training
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aspgap_jax import config
from aspgap_jax.config import Config, Execution
from aspgap_jax.files.orbax import Checkpoints, open_checkpoints
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.runtime import parallel, processes
from aspgap_jax.runtime.interruption import CONTINUE, Interruption
from aspgap_jax.runtime.parallel import Layout
from aspgap_jax.training import log, loop, pretraining
from aspgap_jax.training.loop import Diverged
from aspgap_jax.training.pretraining import PretrainState
from aspgap_jax.training.step import EpochSummary, TrainState

__all__ = ["Safety", "safe_pretraining", "safe_training"]


@dataclass(frozen=True)
class Safety:
    """What keeps a training from being lost.

    Attributes:
        folder: of the run.
        config: stored beside every state.
        scalers: of every split, likewise.
        execution: how often to save.
        interruption: signals that wait until a state is saved.
    """

    folder: Path
    config: Config
    scalers: Scalers
    execution: Execution
    interruption: Interruption

    def checkpoints(self, name: str) -> AbstractContextManager[Checkpoints]:
        """Of process 0."""
        return open_checkpoints(
            self.folder / "checkpoints" / name,
            config=json.loads(config.to_json(self.config)),
            scalers=self.scalers,
        )


@contextmanager
def safe_pretraining(
    safety: Safety, fresh: PretrainState
) -> Iterator[tuple[PretrainState, pretraining.AfterEpoch]]:
    """Keeps :func:`aspgap_jax.training.pretraining.pretrain` from being lost.

    To be used in one process, which pre-trains for all.

    Args:
        safety: where to keep the states.
        fresh: the state before the first step.

    Yields:
        where to go on, and what to do after every epoch.
    """
    epochs = safety.config.pretrain.epochs
    with safety.checkpoints("pretraining") as checkpoints, safety.interruption.deferred():
        start = parallel.on_device(_newest(checkpoints, fresh))
        done = int(start.epoch)
        if 0 < done < epochs:
            print(f"{safety.folder}: pre-training resumed after epoch {done}")
        keeper = _Keeper(safety, checkpoints, "pre-training epoch")
        with _bar(epochs, done, "pre-train") as bar:

            def after_epoch(epoch: int, state: PretrainState, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update()
                stop = safety.interruption.requested is not None
                keeper.after_epoch(epoch, lambda: state, loss, stop=stop)

            yield start, after_epoch
            keeper.finish()


@contextmanager
def safe_training(
    safety: Safety, fresh: TrainState, names: Sequence[Assignment], layout: Layout
) -> Iterator[tuple[TrainState, loop.AfterEpoch]]:
    """Keeps :func:`aspgap_jax.training.loop.fit` from being lost.

    To be used in all processes; process 0 reads and writes.

    Args:
        safety: where to keep states and log.
        fresh: the states before the first step, one copy ``[member, ...]``.
        names: of the members, for the log.
        layout: the devices that share the work.

    Yields:
        where to go on, and what to do after every epoch. When the training has diverged,
        its last good state is saved.
    """
    with ExitStack() as stack:
        checkpoints = None
        if parallel.is_main():
            checkpoints = stack.enter_context(safety.checkpoints("training"))
        stack.enter_context(safety.interruption.deferred())
        newest = processes.by_main(partial(_newest, checkpoints, fresh)) or fresh
        start = parallel.on_device(processes.from_main(newest, fresh))
        done = int(start.epoch.max())
        if done:
            processes.announce(f"{safety.folder}: resumed after epoch {done}")
        write = None
        if parallel.is_main():
            write = stack.enter_context(log.open_log(safety.folder / "log.jsonl", done))
        bar = stack.enter_context(_bar(safety.config.train.epochs, done, "train"))
        keeper = _Keeper(safety, checkpoints, "epoch")

        def after_epoch(epoch: int, states: TrainState, summary: EpochSummary) -> None:
            if write is not None:
                write(log.records(epoch, summary, names))
            loss = float(np.mean(summary.valid_nll))
            bar.set_postfix(valid=f"{loss:.3f}", refresh=False)
            bar.update()
            stop = processes.agree(safety.interruption)
            keeper.after_epoch(epoch, partial(parallel.one_copy, layout, states), loss, stop=stop)

        try:
            yield start, after_epoch
        except Diverged as error:
            good = error.states
            keeper.save(int(good.epoch.max()), good, float(good.best_loss.mean()))
            raise
        keeper.finish()


class _Keeper:
    """Decides after every epoch whether to save, and whether to stop.

    Args:
        safety: what to do.
        checkpoints: where to; ``None`` in processes that do not write.
        noun: how the epochs are called in messages.
    """

    def __init__(self, safety: Safety, checkpoints: Checkpoints | None, noun: str) -> None:
        self._safety = safety
        self._checkpoints = checkpoints
        self._noun = noun
        self._saved_at = time.monotonic()
        self._last: Callable[[], None] = lambda: None

    def after_epoch(self, epoch: int, state: Callable[[], Any], loss: float, *, stop: bool) -> None:
        """Save now and then, and before obeying a signal.

        Args:
            epoch: epochs done.
            state: makes the state to save; it is called before the next epoch, if at all.
            loss: by which the best state is kept.
            stop: obey the signal that waits.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            Preempted: SIGTERM came.
        """
        self._last = lambda: self.save(epoch, state(), loss)
        if not stop:
            if time.monotonic() - self._saved_at >= self._safety.execution.checkpoint_seconds:
                self._last()
            return
        self._last()
        if self._checkpoints is not None:
            self._checkpoints.wait()
        saved = f"{self._noun} {epoch} is saved in {self._safety.folder}: {CONTINUE}"
        self._safety.interruption.obey(saved)

    def finish(self) -> None:
        """Save the last state: whatever follows can be interrupted too."""
        self._last()

    def save(self, epoch: int, state: Any, loss: float) -> None:
        """Save, in the process that writes, what is not yet saved."""
        if self._checkpoints is not None:
            self._checkpoints.save(epoch, state, loss)
        self._saved_at = time.monotonic()


def _bar(epochs: int, done: int, name: str) -> tqdm:
    return tqdm(
        total=epochs,
        initial=done,
        desc=name,
        unit="epoch",
        disable=None if parallel.is_main() else True,
    )


def _newest(checkpoints: Checkpoints | None, fresh: Any) -> Any:
    """The newest state on disk, or that before the first step."""
    if checkpoints is None or checkpoints.latest() is None:
        return fresh
    return checkpoints.restore(fresh)
