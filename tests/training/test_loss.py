"""Each term of eq. 2-4 against a formula of its own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from aspgap_jax.config import Config, Loss, LossForm
from aspgap_jax.model import Outputs, Params
from aspgap_jax.training import loss
from aspgap_jax.training.recipe import Hyper, hyper_of, recipe_of

N_STARS, N_LABELS = 32, 4
# One program a form of the objective: as single operations they take longer to compile.
loss_terms = jax.jit(loss.loss_terms, static_argnames="cfg")


def made_up(n: int = N_STARS) -> tuple[Outputs, jax.Array, jax.Array, jax.Array, Params]:
    """Outputs, labels, label errors, weights (some padding) and parameters."""
    rng = np.random.default_rng(1)
    drawn = (jnp.asarray(rng.normal(size=(n, N_LABELS)), jnp.float32) for _ in "123")
    outputs = Outputs(*drawn, penalty=jnp.arange(n, dtype=jnp.float32))
    outputs = outputs._replace(log_sigma=outputs.log_sigma - 1.0)
    labels = jnp.asarray(rng.normal(size=(n, N_LABELS)), jnp.float32)
    error = jnp.asarray(rng.uniform(0.01, 0.3, (n, N_LABELS)), jnp.float32)
    weight = jnp.asarray((np.arange(n) % 7 != 3).astype(np.float32))
    params = Params(
        {"w": jnp.array([[-1.0, 2.0]])}, {"w": jnp.array([0.5])}, {"w": jnp.array([[-3.0]])}
    )
    return outputs, labels, error, weight, params


def weights(cfg: Loss) -> Hyper:
    return hyper_of(Config(loss=cfg))


def form(cfg: Loss) -> LossForm:
    return recipe_of(Config(loss=cfg)).loss


def in_float64(*arrays: jax.Array) -> list[np.ndarray]:
    return [np.asarray(a, np.float64) for a in arrays]


def test_variance_is_the_sum_of_both_with_a_floor() -> None:
    log_sigma = jnp.log(jnp.array([[3e-4, 0.4, 2.0, 1e-9]]))
    error = jnp.array([[1e-4, 0.3, 0.1, 0.02]])
    log_var = loss.log_variance(log_sigma, error, Loss())
    expected = np.maximum(1e-6, np.array([[1e-8 + 9e-8, 0.25, 4.01, 4e-4]]))
    np.testing.assert_allclose(np.exp(log_var), expected, rtol=1e-5)


def test_first_branch_is_the_gaussian_likelihood() -> None:
    outputs, labels, error, _, _ = made_up()
    mean, log_sigma, y, sigma = in_float64(outputs.mean, outputs.log_sigma, labels, error)
    total = np.sqrt(sigma**2 + np.exp(log_sigma) ** 2)
    # -ln N(y | mean, total) without its constant.
    expected = -stats.norm.logpdf(y, mean, total).sum(axis=1) - N_LABELS * 0.5 * np.log(2 * np.pi)
    log_var = loss.log_variance(outputs.log_sigma, error, Loss())
    np.testing.assert_allclose(
        loss.xp_nll(labels - outputs.mean, log_var, 1.0), expected, rtol=2e-4, atol=2e-4
    )


def test_terms_match_numpy_in_float64() -> None:
    outputs, labels, error, weight, params = made_up()
    cfg = Loss(alpha_xp=0.7, alpha_apogee=0.2, l1=3.0, kl=5.0, prior=0.25)
    n_stars = 50.0
    terms = loss_terms(
        outputs, labels, error, weight, params, np.float32(n_stars), weights(cfg), form(cfg)
    )

    mean, log_sigma, apogee, y, sigma = in_float64(*outputs[:3], labels, error)
    real = np.asarray(weight) == 1
    s2 = sigma**2 + np.exp(2 * log_sigma)
    nll = (0.35 * (y - mean) ** 2 / s2 + 0.5 * np.log(s2)).sum(axis=1)[real].mean()
    branch = (0.1 * (y - apogee) ** 2 / s2).sum(axis=1)[real].mean()
    chi = ((y - mean) / np.sqrt(s2))[real]
    mu, var = chi.mean(axis=0), chi.var(axis=0)
    kl = (-0.5 * np.log(var) + (var + mu**2) / 2 - 0.5).sum() / n_stars
    np.testing.assert_allclose(terms.nll, nll, rtol=1e-5)
    np.testing.assert_allclose(terms.branch, branch, rtol=1e-5)
    np.testing.assert_allclose(terms.kl, kl, rtol=1e-4)
    np.testing.assert_allclose(terms.l1, 6.5 / n_stars, rtol=1e-6)
    prior = np.flatnonzero(real).mean()
    np.testing.assert_allclose(terms.prior, prior, rtol=1e-6)
    expected = nll + branch + 3.0 * 6.5 / n_stars + 5.0 * kl + 0.25 * prior
    np.testing.assert_allclose(loss.total(terms, weights(cfg)), expected, rtol=1e-5)


@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.0), (0.7, 0.4), (-1.2, 1.8)])
def test_kl_against_numerical_integration(mu: float, sigma: float) -> None:
    def integrand(x: float) -> float:
        return stats.norm.pdf(x, mu, sigma) * (
            stats.norm.logpdf(x, mu, sigma) - stats.norm.logpdf(x)
        )

    expected, _ = integrate.quad(integrand, mu - 12 * sigma, mu + 12 * sigma)
    found = loss.kl_to_standard_normal(jnp.array([mu]), jnp.array([sigma**2]))
    np.testing.assert_allclose(found, [expected], rtol=1e-5, atol=1e-7)


def test_l1_reaches_every_leaf() -> None:
    params = {"a": jnp.array([[1.0, -2.0]]), "b": [jnp.array(-0.25), jnp.zeros(3)]}
    assert float(loss.l1_norm(params)) == 3.25


@pytest.mark.parametrize(
    "cfg",
    [
        Loss(kl=40.0, l1=0.3),
        Loss(apogee_branch="mse", std_as_variance=True, variance_floor=1e-4, kl=0.2,
             kl_over_n=False),
    ],
    ids=["paper", "released code"],
)  # fmt: skip
def test_gradient_against_finite_differences(cfg: Loss) -> None:
    with jax.enable_x64(True):
        outputs, labels, error, weight, params = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), made_up()
        )

        @jax.jit
        @jax.value_and_grad
        def objective(outputs: Outputs) -> jax.Array:
            terms = loss.loss_terms(
                outputs, labels, error, weight, params, jnp.array(50.0), weights(cfg), form(cfg)
            )
            return loss.total(terms, weights(cfg))

        gradient = objective(outputs)[1]
        step = 1e-6
        for field, row, column in (("mean", 0, 1), ("log_sigma", 5, 2), ("apogee_mean", 9, 3)):
            shift = np.zeros((N_STARS, N_LABELS))
            shift[row, column] = step
            value = np.asarray(getattr(outputs, field))
            up, _ = objective(outputs._replace(**{field: value + shift}))
            down, _ = objective(outputs._replace(**{field: value - shift}))
            np.testing.assert_allclose(
                np.asarray(getattr(gradient, field))[row, column],
                (up - down) / (2 * step),
                rtol=1e-5,
                atol=1e-9,
            )


def test_outlying_log_sigma_neither_overflows_nor_stops_the_gradient() -> None:
    log_sigma = jnp.array([[200.0, -200.0, 60.0, 0.0]])
    error, residual = jnp.full((1, 4), 0.01), jnp.ones((1, 4))

    @jax.jit
    @jax.value_and_grad
    def objective(log_sigma: jax.Array) -> jax.Array:
        return loss.xp_nll(residual, loss.log_variance(log_sigma, error, Loss()), 1.0).sum()

    value, gradient = objective(log_sigma)
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient, [[1.0, 0.0, 1.0, 0.0]], atol=2e-4)


def test_released_code_hands_a_standard_deviation_to_the_likelihood() -> None:
    outputs, labels, error, weight, params = made_up()
    cfg = Loss(
        alpha_xp=1.0, std_as_variance=True, variance_floor=1e-4, apogee_branch="mse",
        kl=0.2, kl_over_n=False,
    )  # fmt: skip
    terms = loss_terms(
        outputs, labels, error, weight, params, np.float32(50.0), weights(cfg), form(cfg)
    )
    mean, log_sigma, apogee, y, sigma = in_float64(*outputs[:3], labels, error)
    real = np.asarray(weight) == 1
    std = np.sqrt(sigma**2 + np.exp(2 * log_sigma))
    nll = 0.5 * (np.log(std) + (y - mean) ** 2 / std)
    np.testing.assert_allclose(terms.nll, nll.sum(axis=1)[real].mean(), rtol=1e-5)
    mse = 0.5 * cfg.alpha_apogee * ((y - apogee) ** 2).sum(axis=1)[real].mean()
    np.testing.assert_allclose(terms.branch, mse, rtol=1e-5)
    assert float(terms.kl) > 0.0


def test_kl_is_divided_by_n_only_when_asked() -> None:
    made = made_up()
    over_n = loss_terms(*made, np.float32(50.0), weights(Loss()), form(Loss()))
    plain = loss_terms(*made, np.float32(50.0), weights(Loss()), form(Loss(kl_over_n=False)))
    np.testing.assert_allclose(plain.kl, 50.0 * over_n.kl, rtol=1e-6)


def test_four_devices_give_the_terms_of_the_whole_batch() -> None:
    """The KL term needs pooled moments: the mean of four devices' terms is another number."""
    outputs, labels, error, weight, params = made_up()
    # Devices whose stars differ: their own moments are not those of all.
    device = np.repeat(np.arange(-3.0, 4.0, 2.0), N_STARS // 4)[:, None]
    shifted = np.asarray(outputs.mean) + 0.2 * np.asarray(labels) + device
    labels = jnp.asarray(shifted.astype(np.float32))
    cfg, n_stars = Loss(), jnp.asarray(np.float32(50.0))
    whole = loss_terms(outputs, labels, error, weight, params, n_stars, weights(cfg), form(cfg))

    def shard(outputs: Outputs, labels: jax.Array, error: jax.Array, weight: jax.Array) -> object:
        return loss.loss_terms(
            outputs, labels, error, weight, params, n_stars, weights(cfg), form(cfg), "device"
        )

    split = jax.tree.map(
        lambda x: np.asarray(x).reshape(4, -1, *x.shape[1:]), (outputs, labels, error, weight)
    )
    pooled = jax.pmap(shard, axis_name="device")(*split)
    for name in ("nll", "branch", "kl", "prior"):
        np.testing.assert_allclose(
            getattr(pooled, name), np.full(4, getattr(whole, name)), rtol=2e-5
        )
    alone = [
        loss_terms(
            *jax.tree.map(lambda x, d=d: x[d], split), params, n_stars, weights(cfg), form(cfg)
        ).kl
        for d in range(4)
    ]
    assert np.mean(alone) > float(whole.kl) + 0.1


def with_gaps() -> jax.Array:
    """Which labels are measured: of label 3 those of few stars, of label 0 all."""
    measured = np.random.default_rng(2).uniform(size=(N_STARS, N_LABELS)) < [1.0, 0.7, 0.5, 0.2]
    assert measured[:, 0].all()
    return jnp.asarray(measured)


def test_a_label_that_is_missing_takes_part_in_no_term() -> None:
    """Each label's share of the loss is that of its own stars, computed apart in float64."""
    outputs, labels, error, weight, params = made_up()
    measured = with_gaps()
    cfg, n_stars = Loss(alpha_xp=0.7, alpha_apogee=0.2, kl=5.0), 50.0
    terms = loss.loss_terms(
        outputs, labels, error, weight, params, jnp.array(n_stars), weights(cfg), cfg,
        measured=measured,
    )  # fmt: skip
    nll = branch = kl = 0.0
    n_real = float(np.sum(np.asarray(weight)))
    for k in range(N_LABELS):
        own = (np.asarray(weight) == 1) & np.asarray(measured)[:, k]
        mean, log_sigma, apogee, y, sigma = (
            values[own, k] for values in in_float64(*outputs[:3], labels, error)
        )
        s2 = sigma**2 + np.exp(2 * log_sigma)
        share = own.sum() / n_real
        nll += share * (0.35 * (y - mean) ** 2 / s2 + 0.5 * np.log(s2)).mean()
        branch += share * (0.1 * (y - apogee) ** 2 / s2).mean()
        chi = (y - mean) / np.sqrt(s2)
        kl += share * ((chi.var() + chi.mean() ** 2 - 1) / 2 - np.log(chi.std())) / n_stars
    np.testing.assert_allclose(terms.nll, nll, rtol=1e-5)
    np.testing.assert_allclose(terms.branch, branch, rtol=1e-5)
    np.testing.assert_allclose(terms.kl, kl, rtol=1e-4)


def test_what_stands_for_a_missing_label_is_of_no_account() -> None:
    outputs, labels, error, weight, params = made_up()
    measured, cfg = with_gaps(), Loss(kl=5.0)

    def objective(outputs: Outputs, labels: jax.Array) -> jax.Array:
        terms = loss.loss_terms(
            outputs, labels, error, weight, params, jnp.array(50.0), weights(cfg), cfg,
            measured=measured,
        )  # fmt: skip
        return loss.total(terms, weights(cfg))

    both = jax.value_and_grad(objective)
    value, gradient = both(outputs, labels)
    other, same = both(outputs, jnp.where(measured, labels, 9.0))
    assert float(value) == float(other)
    for a, b in zip(gradient[:3], same[:3], strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.asarray(a)[~np.asarray(measured)], 0.0)
        assert np.isfinite(a).all()


def test_with_all_labels_the_mask_changes_no_bit() -> None:
    made, cfg = made_up(), Loss(kl=5.0)
    plain = loss.loss_terms(*made, jnp.array(50.0), weights(cfg), cfg)
    masked = loss.loss_terms(
        *made, jnp.array(50.0), weights(cfg), cfg, measured=jnp.ones((N_STARS, N_LABELS), bool)
    )
    assert [float(term) for term in plain] == [float(term) for term in masked]


@pytest.mark.parametrize("stars_with_it", [0, 1])
def test_a_label_of_too_few_stars_has_no_spread_to_judge(stars_with_it: int) -> None:
    outputs, labels, error, weight, params = made_up()
    measured = jnp.ones((N_STARS, N_LABELS), bool).at[stars_with_it:, 3].set(False)
    cfg = Loss(kl=5.0)

    def kl(outputs: Outputs, measured: jax.Array | None) -> jax.Array:
        return loss.loss_terms(
            outputs, labels, error, weight, params, jnp.array(50.0), weights(cfg), cfg,
            measured=measured,
        ).kl  # fmt: skip

    value, gradient = jax.value_and_grad(kl)(outputs, measured)
    three = Outputs(*(leaf[:, :3] for leaf in outputs[:3]), penalty=outputs.penalty)
    expected = loss.loss_terms(
        three, labels[:, :3], error[:, :3], weight, params, jnp.array(50.0), weights(cfg), cfg
    ).kl
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in gradient)


def test_four_devices_pool_the_moments_of_stars_that_have_a_label() -> None:
    """The stars that have label 3 all lie on one device, those with label 2 unevenly."""
    outputs, labels, error, weight, params = made_up()
    row = np.arange(N_STARS)
    measured = np.stack([row >= 0, row >= 0, row % 5 > row // 8, row < 8], axis=1)
    cfg, n_stars = Loss(kl=5.0), jnp.array(50.0)

    def of(args: tuple[jax.Array, ...], axis_name: str | None = None) -> loss.LossTerms:
        outputs, labels, error, weight, measured = args
        return loss.loss_terms(
            outputs, labels, error, weight, params, n_stars, weights(cfg), cfg, axis_name, measured
        )

    made = (outputs, labels, error, weight, jnp.asarray(measured))
    whole = of(made)
    split = jax.tree.map(lambda x: x.reshape(4, -1, *x.shape[1:]), made)
    pooled = jax.pmap(lambda *args: of(args, "device"), axis_name="device")(*split)
    for name in ("nll", "branch", "kl"):
        np.testing.assert_allclose(
            getattr(pooled, name), np.full(4, getattr(whole, name)), rtol=2e-5
        )


def test_labels_that_the_decoder_does_not_know_are_the_other_branch_s_alone() -> None:
    """Label 2 counts as if alpha_1 were the sum of both weights and alpha_2 were 0."""
    outputs, labels, error, weight, params = made_up()
    cfg = Loss(alpha_xp=0.7, alpha_apogee=0.2)
    terms = loss.loss_terms(
        outputs, labels, error, weight, params, jnp.array(50.0), weights(cfg), cfg,
        taught=(True, True, False, True),
    )  # fmt: skip
    mean, log_sigma, apogee, y, sigma = in_float64(*outputs[:3], labels, error)
    real = np.asarray(weight) == 1
    s2 = sigma**2 + np.exp(2 * log_sigma)
    first, second = np.array([0.7, 0.7, 0.9, 0.7]), np.array([0.2, 0.2, 0.0, 0.2])
    nll = (first / 2 * (y - mean) ** 2 / s2 + 0.5 * np.log(s2)).sum(axis=1)[real].mean()
    branch = (second / 2 * (y - apogee) ** 2 / s2).sum(axis=1)[real].mean()
    np.testing.assert_allclose(terms.nll, nll, rtol=1e-5)
    np.testing.assert_allclose(terms.branch, branch, rtol=1e-5)
