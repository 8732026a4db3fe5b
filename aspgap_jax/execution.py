"""How a run is carried out: nothing here changes what it computes."""

from __future__ import annotations

from dataclasses import dataclass

from aspgap_jax.errors import InputError

__all__ = ["Execution"]


@dataclass(frozen=True)
class Execution:
    """Devices, memory and checkpoints of a run. It may resume with others."""

    devices: int | None = None
    """Share every batch among so many of this machine's devices. Default: all of them."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where several processes train one model together. Those of a
    Slurm job step find each other without this and the next two options."""
    processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this is, from 0. Process 0 writes."""
    checkpoint_seconds: float = 20.0
    """A run that is killed repeats no more than this and one epoch."""
    device_bytes: int = 2**31
    """APOGEE spectra that take more than this are streamed from their file in pre-training."""

    def __post_init__(self) -> None:
        if self.devices is not None and self.devices < 1:
            raise InputError(f"devices must be >= 1, got {self.devices}")
        if self.checkpoint_seconds < 0:
            raise InputError(f"checkpoint_seconds must be >= 0, got {self.checkpoint_seconds}")
