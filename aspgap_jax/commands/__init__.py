"""The subcommands of ``aspgap``: their options, and what each calls."""

from aspgap_jax.commands.data import Fetch, Ingest, Prepare
from aspgap_jax.commands.prediction import Predict
from aspgap_jax.commands.training import Crossval, Demo, Train
from aspgap_jax.commands.validation import Evaluate

__all__ = ["COMMANDS", "Command"]

Command = Demo | Prepare | Ingest | Fetch | Train | Crossval | Predict | Evaluate
COMMANDS: tuple[type[Command], ...] = (
    Demo,
    Prepare,
    Ingest,
    Fetch,
    Train,
    Crossval,
    Predict,
    Evaluate,
)
