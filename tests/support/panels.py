"""What a drawn figure shows."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def panels(figure: Figure) -> list:
    """The axes that show data, colour bars left out."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.axison]


def texts(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)
