"""The command `plot-run`, on finished runs and on those in progress."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aspgap_jax import plots
from aspgap_jax.commands.training import PlotRun
from aspgap_jax.errors import InputError
from aspgap_jax.files.locks import Holder
from aspgap_jax.training.log import open_log, read_log
from support.held_locks import held_by_another


def lines(epochs: int, members: int = 2) -> list[dict[str, float]]:
    """A log whose member m is best in epoch 3 + m."""
    return [
        {
            "epoch": epoch,
            "member": member,
            "train_total": 10.0 / epoch,
            "train_nll": 5.0 / epoch,
            "valid_nll": abs(epoch - 3 - member) + 1.0,
        }
        for epoch in range(1, epochs + 1)
        for member in range(members)
    ]


def write_log(folder: Path, epochs: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines(epochs)))
    return path


def test_two_at_once_do_not_write_the_same_figures(tmp_path: Path) -> None:
    write_log(tmp_path / "run", 5)
    held = tmp_path / "run" / "figures" / ".running" / "run-x"
    with (
        held_by_another(held, Holder(command="aspgap plot-run run")),
        pytest.raises(InputError, match=r"figures: is being written by .*aspgap plot-run run"),
    ):
        PlotRun(tmp_path / "run").run()
    # A training holds its folder while its curves are drawn.
    with held_by_another(tmp_path / "run" / ".running" / "run-x", Holder(command="aspgap train")):
        assert PlotRun(tmp_path / "run").run() == 0
    assert not (tmp_path / "run" / "figures" / ".running").exists()


def test_png_and_pdf_of_a_run_in_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "run", 5)
    with log.open("a") as file:
        file.write('{"epoch": 6, "mem')
    assert PlotRun(tmp_path / "run").run() == 0
    written = sorted((tmp_path / "run" / "figures").iterdir())
    assert [path.name for path in written] == ["learning_curves.pdf", "learning_curves.png"]
    assert written[0].read_bytes().startswith(b"%PDF-")
    assert written[1].read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert all(f"wrote {path}" in printed for path in written)
    PlotRun(tmp_path / "run", tmp_path / "elsewhere").run()
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


def test_the_best_epoch_of_every_member_is_marked() -> None:
    figure = plots.learning_curves(lines(8))
    total, nll = (axes for axes in figure.axes if axes.axison)
    assert total.get_ylabel() == "total loss"
    # Members 0 and 1 are best in epochs 3 and 4, on the training curve and the other.
    marks = np.concatenate([dots.get_offsets() for dots in nll.collections])
    np.testing.assert_allclose(marks, [[3, 5 / 3], [4, 5 / 4], [3, 1], [4, 1]])
    assert len(nll.lines) == 4
    assert [text.get_text() for text in figure.legends[0].texts][:2] == ["train", "valid"]


def test_the_first_epochs_do_not_set_the_scale() -> None:
    history = lines(60)
    for line in history[:2]:
        line["train_total"] = 1e9
    total = plots.learning_curves(history).axes[0]
    assert total.get_ylim()[1] < 20.0


def test_a_run_of_one_epoch_is_seen() -> None:
    nll = plots.learning_curves(lines(1)).axes[1]
    assert all(line.get_marker() == "." for line in nll.lines)


def test_nothing_to_draw_is_one_clear_line(tmp_path: Path) -> None:
    for make in (lambda: None, lambda: write_log(tmp_path, 0)):
        make()
        with pytest.raises(InputError, match=r"log\.jsonl: no finished epoch there"):
            PlotRun(tmp_path).run()


def test_a_resumed_log_loses_the_epochs_that_come_again(tmp_path: Path) -> None:
    path = write_log(tmp_path, 5)
    with open_log(path, 3) as write:
        assert {line["epoch"] for line in read_log(path)} == {1, 2, 3}
        write([{"epoch": 4, "member": 0}])
        assert read_log(path)[-1] == {"epoch": 4, "member": 0}, "flushed at once"
    assert read_log(tmp_path / "absent.jsonl") == []
