"""Fine-tuning: what a training takes from the networks of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aspgap_jax.cli import main
from aspgap_jax.config import Config, to_json, with_labels
from aspgap_jax.errors import InputError
from aspgap_jax.labels import LABELS
from aspgap_jax.prediction.bundle import Networks, load_networks, save_bundle
from aspgap_jax.preprocessing.folds import Assignment, Split
from aspgap_jax.survey.store import write_training_store
from aspgap_jax.training.inheritance import inherit, inherited_params, members_of
from support.bundles import CFG as OLD
from support.bundles import bundle_of, made_up_set, networks_of
from support.made_up import made_up_stars
from support.tiny import TINY

THREE = LABELS[:3]


def test_each_fold_begins_with_a_network_that_has_not_seen_its_stars() -> None:
    bundle = [Assignment(r, f, s) for r in (0, 1) for f in (0, 1) for s in (0, 1)]
    place, own = members_of(bundle, [Split(0, 1), Split(1, 0)], 3)
    assert own
    assert place.tolist() == [[2, 3, 2], [4, 5, 4]]
    place, own = members_of(bundle[:2], [Split(0, -1), Split(0, 0)], 1)
    assert not own
    assert place.tolist() == [[0], [0]]


def bundle_on_disk(folder: Path) -> Networks:
    """Untrained networks for two seeds of a training on all stars."""
    stars = made_up_set()
    networks = networks_of(stars, OLD, members=2)
    bundle, info = bundle_of(stars, members=2)
    members = (Assignment(0, -1, 0), Assignment(0, -1, 1))
    save_bundle(folder, bundle, replace(info, members=members), networks)
    return networks


def fresh_like(networks: Networks, cfg: Config) -> Networks:
    return jax.tree.map(lambda leaf: leaf + 1, networks_of(made_up_set(), cfg, members=2)._replace(
        scalers=networks.scalers))  # fmt: skip


def test_the_same_labels_take_over_everything(tmp_path: Path) -> None:
    old = bundle_on_disk(tmp_path / "b")
    cfg = replace(OLD, cv=replace(OLD.cv, seeds=2))
    heir = inherit(tmp_path / "b", cfg, made_up_set(), [Split(0, -1)])
    assert heir.same_labels
    begin = inherited_params(fresh_like(old, OLD).params, heir)
    for a, b in zip(jax.tree.leaves(begin), jax.tree.leaves(old.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "its decoders, hallucinator and label scalers too" in heir.words


def test_other_labels_get_fresh_heads(tmp_path: Path) -> None:
    """Also where they are as many, so that the shapes of the old heads fit."""
    old = bundle_on_disk(tmp_path / "b")
    other = (*THREE, replace(LABELS[3], name="age"))
    cfg = replace(with_labels(OLD, other), cv=replace(OLD.cv, seeds=2))
    heir = inherit(tmp_path / "b", cfg, made_up_set(), [Split(0, -1)])
    fresh = fresh_like(old, OLD).params
    begin = inherited_params(fresh, heir)
    last = f"Dense_{len(OLD.model.xp_decoder)}"

    def same(a: object, b: object) -> bool:
        leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        return all(np.array_equal(x, y) for x, y in leaves)

    assert same(begin.encoder, old.params.encoder)
    assert same(begin.hallucinator, fresh.hallucinator)
    for name, layer in begin.xp_decoder["params"].items():
        source = fresh if name == last else old.params
        assert same(layer, source.xp_decoder["params"][name])
    assert "new heads, label scalers and second branch for teff, logg, m_h, age" in heir.words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": replace(OLD.model, encoder=(5, 3))}, r"model.encoder is .* there and \(5, 3\)"),
        ({"data": replace(OLD.data, magnitude_exponent=0.1)}, "data.magnitude_exponent is"),
        ({"model": replace(OLD.model, apogee_decoder=(3,))}, "model.apogee_decoder is"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, change: dict, message: str) -> None:
    bundle_on_disk(tmp_path / "b")
    with pytest.raises(InputError, match=message) as caught:
        inherit(tmp_path / "b", replace(OLD, **change), made_up_set(), [Split(0, -1)])
    assert "\n" not in str(caught.value)


def test_from_a_run_without_a_label_to_one_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pre-trained without [alpha/M]; fine-tuned on other stars with it, in the same folds."""
    cfg = replace(TINY, train=replace(TINY.train, epochs=2), cv=replace(TINY.cv, seeds=1))
    (tmp_path / "settings.json").write_text(to_json(cfg))
    for name, seed in (("many", 0), ("few", 1)):
        write_training_store(tmp_path / f"{name}.h5", made_up_stars(seed=seed))
    before, after = tmp_path / "before", tmp_path / "after"
    words = ["crossval", "--select", "usable"]
    assert main([*words, "--data", str(tmp_path / "many.h5"), "--out", str(before), "--labels",
                 "teff,logg,m_h", "--config", str(tmp_path / "settings.json")]) == 0  # fmt: skip
    words += ["--data", str(tmp_path / "few.h5"), "--init-from", str(before)]
    capsys.readouterr()
    assert main([*words, "--out", str(after), "--labels", "alpha_m"]) == 0
    assert "each fold from a network of the same fold" in capsys.readouterr().out
    old, new = (load_networks(folder)[0] for folder in (before, after))
    for a, b in zip(jax.tree.leaves(old.scalers.xp), jax.tree.leaves(new.scalers.xp), strict=True):
        np.testing.assert_array_equal(a, b)
    assert new.scalers.labels.centre.shape == (2, 1)
    # Two epochs of Adam, of 6 steps of at most 1e-3: it went on from where the other ended.
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), old.params.encoder, new.params.encoder)
    assert 0 < max(float(leaf) for leaf in jax.tree.leaves(moved)) < 0.02
    assert main([*words, "--out", str(tmp_path / "x"), "--model.latent", "9"]) == 2
    assert "model.latent is 8 there and 9 here" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "x"), "--preset", "paper"]) == 2
    assert "leave out --preset and --config" in capsys.readouterr().err
