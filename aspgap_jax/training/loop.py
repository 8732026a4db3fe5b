"""Pre-training and training with a bar, a log and checkpoints: nothing is lost.

Below the folder of a run::

    log.jsonl                 diagnostics, one line an epoch and member
    checkpoints/pretraining   states of the APOGEE decoders' pre-training
    checkpoints/training      states of the joint training
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from aspgap_jax import config
from aspgap_jax.apstar import N_PIXELS
from aspgap_jax.config import Config, Execution
from aspgap_jax.files import orbax as checkpoint
from aspgap_jax.files.orbax import Checkpoints
from aspgap_jax.preprocessing.device import Stars
from aspgap_jax.preprocessing.folds import Assignment
from aspgap_jax.preprocessing.scaling import Scalers
from aspgap_jax.runtime import parallel, processes
from aspgap_jax.runtime.interruption import CONTINUE, Interruption
from aspgap_jax.runtime.parallel import Layout
from aspgap_jax.training import members as crossval
from aspgap_jax.training import pretraining
from aspgap_jax.training.log import open_log
from aspgap_jax.training.pretraining import Pretrained, PretrainState, SpectraReader
from aspgap_jax.training.step import EpochSummary, Member, TrainState

__all__ = ["Safety", "fit", "pretrain"]


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

    def checkpoints(self, name: str) -> contextlib.AbstractContextManager[Checkpoints]:
        """Of process 0."""
        return checkpoint.open_checkpoints(
            self.folder / "checkpoints" / name,
            config=json.loads(config.to_json(self.config)),
            scalers=self.scalers,
        )


class Keeper:
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

    def after_epoch(self, epoch: int, state: Callable[[], Any], loss: float, *, stop: bool) -> None:
        """Save now and then, and before obeying a signal.

        Args:
            epoch: epochs done.
            state: makes the state to save.
            loss: by which the best state is kept.
            stop: obey the signal that waits.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            Preempted: SIGTERM came.
        """
        if not stop:
            if time.monotonic() - self._saved_at >= self._safety.execution.checkpoint_seconds:
                self.save(epoch, state(), loss)
            return
        self.save(epoch, state(), loss)
        if self._checkpoints is not None:
            self._checkpoints.wait()
        saved = f"{self._noun} {epoch} is saved in {self._safety.folder}: {CONTINUE}"
        self._safety.interruption.obey(saved)

    def save(self, epoch: int, state: Any, loss: float) -> None:
        """Save, in the process that writes."""
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


def pretrain(
    spectra: SpectraReader, at: np.ndarray, scalers: Scalers, cfg: Config, safety: Safety
) -> Pretrained:
    """:func:`aspgap_jax.training.pretraining.pretrain_decoders` of every split, resumable.

    Args:
        spectra: of every split.
        at: their labels, in physical units ``[split, spectrum, label]``.
        scalers: of every split.
        cfg: all settings.
        safety: where to keep the states.
    """
    state, scaled = crossval.start_pretraining(at, scalers, cfg, n_pixels=spectra.shape[-1])
    with safety.checkpoints("pretraining") as checkpoints, safety.interruption.deferred():
        if checkpoints.latest() is not None:
            state = on_device(checkpoints.restore(state))
            done = int(state.epoch)
            if done < cfg.pretrain.epochs:
                print(f"{safety.folder}: pre-training resumed after epoch {done}")
        keeper = Keeper(safety, checkpoints, "pre-training epoch")
        with _bar(cfg.pretrain.epochs, int(state.epoch), "pre-train") as bar:

            def after_epoch(state: PretrainState) -> None:
                epoch = int(state.epoch)
                loss = float(state.loss[:, epoch - 1].mean())
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update()
                if epoch == cfg.pretrain.epochs:
                    # The last one always: training can be interrupted too.
                    keeper.save(epoch, state, loss)
                stop = safety.interruption.requested is not None
                keeper.after_epoch(epoch, lambda: state, loss, stop=stop)

            return pretraining.pretrain_decoders(
                state,
                spectra,
                scaled,
                cfg,
                device_bytes=safety.execution.device_bytes,
                after_epoch=after_epoch,
            )


def fit(
    stars: Stars,
    members: Member,
    cfg: Config,
    names: Sequence[Assignment],
    safety: Safety,
    layout: Layout,
) -> TrainState:
    """:func:`aspgap_jax.training.members.fit`, resumable.

    Args:
        stars: shared by all members.
        members: ``[member, ...]``.
        cfg: all settings.
        names: of the members, for the log.
        safety: where to keep states and log.
        layout: the devices that share the work.

    Raises:
        InputError: a term of the loss is not finite; the last good state is saved.
    """
    states = crossval.init_states(cfg, members, n_xp=members.scalers.xp.n_inputs, n_pixels=N_PIXELS)
    log = safety.folder / "log.jsonl"
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if parallel.is_main():
            checkpoints = stack.enter_context(safety.checkpoints("training"))
        stack.enter_context(safety.interruption.deferred())
        template = states
        states = processes.by_main(partial(restored, checkpoints, template)) or template
        states = on_device(processes.from_main(states, template))
        epoch = int(states.epoch.max())
        if epoch:
            processes.announce(f"{safety.folder}: resumed after epoch {epoch}")
        write = stack.enter_context(open_log(log, epoch)) if parallel.is_main() else None
        bar = stack.enter_context(_bar(cfg.train.epochs, epoch, "train"))
        keeper = Keeper(safety, checkpoints, "epoch")

        def after_epoch(states: TrainState, summary: EpochSummary) -> None:
            nonlocal epoch
            epoch += 1
            if write is not None:
                write(records(epoch, summary, names))
            loss = float(np.mean(summary.valid_nll))
            bar.set_postfix(valid=f"{loss:.3f}", refresh=False)
            bar.update()
            stop = processes.agree(safety.interruption)
            keeper.after_epoch(epoch, partial(parallel.one_copy, layout, states), loss, stop=stop)

        try:
            states = crossval.fit(
                states, stars, members, cfg, after_epoch=after_epoch, layout=layout
            )
        except crossval.Diverged as error:
            kept = int(error.states.epoch.max())
            keeper.save(kept, error.states, float(error.states.best_loss.mean()))
            raise
        # Whatever follows can be interrupted too.
        keeper.save(epoch, states, float(states.best_loss.mean()))
    return states


def restored(checkpoints: Checkpoints | None, start: TrainState) -> TrainState:
    """The newest state on disk, or that before the first step."""
    if checkpoints is None or checkpoints.latest() is None:
        return start
    return checkpoints.restore(start)


def on_device(tree: Any) -> Any:
    """Host arrays as device arrays, which can be donated."""
    return jax.tree.map(jnp.asarray, tree)


def records(
    epoch: int, summary: EpochSummary, names: Sequence[Assignment]
) -> list[dict[str, float | int]]:
    """Lines of the log: one for every member that is still training."""
    return [
        {
            "epoch": epoch,
            "member": m,
            **name._asdict(),
            "train_total": float(summary.total[m]),
            **{f"train_{term}": float(v[m]) for term, v in summary.terms._asdict().items()},
            "train_gradient_norm": float(summary.gradient_norm[m]),
            "valid_nll": float(summary.valid_nll[m]),
        }
        for m, name in enumerate(names)
        if not summary.stopped[m]
    ]
