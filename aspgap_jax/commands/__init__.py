"""The subcommands of ``aspgap``: their options, and what each calls."""

from aspgap_jax.commands.data import Fetch, Ingest, Prepare
from aspgap_jax.commands.installation import Doctor, InstrumentMatrix
from aspgap_jax.commands.label import LabelCommand
from aspgap_jax.commands.prediction import Catalogue, Predict
from aspgap_jax.commands.star import Card
from aspgap_jax.commands.training import Crossval, Demo, PlotRun, Train
from aspgap_jax.commands.validation import Evaluate, Validate

__all__ = ["COMMANDS", "Command"]

Command = (
    Demo
    | Prepare
    | Ingest
    | Fetch
    | Train
    | Crossval
    | PlotRun
    | Predict
    | LabelCommand
    | Catalogue
    | Card
    | Evaluate
    | Validate
    | InstrumentMatrix
    | Doctor
)
COMMANDS: tuple[type[Command], ...] = (
    Demo,
    Prepare,
    Ingest,
    Fetch,
    Train,
    Crossval,
    PlotRun,
    Predict,
    LabelCommand,
    Catalogue,
    Card,
    Evaluate,
    Validate,
    InstrumentMatrix,
    Doctor,
)
