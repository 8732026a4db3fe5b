"""The four blocks of AspGap (paper section 3 and Fig. 3) as pure functions.

Every block is a multilayer perceptron. The modules hold no parameters:
``init_*`` makes a pytree, ``encode``, ``decode_xp``, ``hallucinate`` and
``decode_apogee`` apply one. Dropout acts only where a ``key`` is given: one for
the whole batch, or one a star, which makes a star's dropout independent of the
batch that it stands in.

The networks of the APOGEE side speak of line depth, 1 - flux, so that their
inputs and outputs scatter around zero; spectra outside are normalised flux.

Between the hallucinator's last layer and the APOGEE decoder's first there is no
nonlinearity and no dropout: their product is one layer. :func:`merge` makes it,
and the labels of the second branch come without the spectrum. With a basis
(:mod:`aspgap_jax.basis`) the hallucinator gives the components of the spectrum. Nor is there any
between the encoder's last layer and what reads the latents: :func:`absorb` makes
the networks that predict, without latents and without spectrum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from aspgap_jax import basis
from aspgap_jax.config import Model
from aspgap_jax.typing import XP, Array, Float, Labels, Latents, PerStar, Spectra

__all__ = [
    "MLP",
    "Absorbed",
    "Outputs",
    "Params",
    "Variables",
    "absorb",
    "apply",
    "decode_apogee",
    "decode_xp",
    "encode",
    "encode_hidden",
    "hallucinate",
    "hallucinate_absorbed",
    "init",
    "init_apogee_decoder",
    "last_of_hallucinator",
    "merge",
    "merging_pays",
    "output_width",
    "read_hallucinated",
]

Variables = Any
"""A Flax parameter pytree, ``{"params": {...}}``."""
Hidden = Float[Array, "star hidden"]


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "leaky_relu": nn.leaky_relu,
    "silu": nn.silu,
}
INITIALISERS: dict[str, Callable[..., jax.Array]] = {
    "lecun": nn.initializers.lecun_normal(),
    "he": nn.initializers.he_normal(),
}
"""Weights of variance 1/n and 2/n, n the inputs of a layer; the second keeps the scatter of
what a rectifier halves (He et al. 2015)."""


class MLP(nn.Module):
    """Dense layers with a nonlinearity, and dropout after hidden layers.

    Attributes:
        features: widths of the hidden layers, then of the output.
        dropout: probability that a hidden unit is dropped in training.
        dropped: so many hidden layers have dropout, from the first; ``None``: all.
        compute: type in which the layers multiply. Parameters are float32 always.
        exact: layers that multiply in float32 all the same, by number.
        activation: a key of :data:`ACTIVATIONS`.
        init_weights: a key of :data:`INITIALISERS`.
    """

    features: tuple[int, ...]
    dropout: float = 0.0
    dropped: int | None = None
    compute: str = "float32"
    exact: tuple[int, ...] = ()
    activation: str = "leaky_relu"
    init_weights: str = "lecun"

    @nn.compact
    def __call__(self, x: jax.Array, keep: jax.Array | None = None) -> jax.Array:
        """Apply the layers.

        Args:
            x: inputs ``[star, input]``.
            keep: False where a hidden unit is dropped ``[star, unit]``, of all
                layers with dropout one after the other; ``None`` drops none.
        """
        first = 0
        for i, width in enumerate(self.features):
            # Without a type of its own a layer multiplies in that of its parameters.
            exact = self.compute == "float32" or i in self.exact
            dtype = None if exact else self.compute
            x = nn.Dense(width, dtype=dtype, kernel_init=INITIALISERS[self.init_weights])(x)
            if i < len(self.features) - 1:
                x = ACTIVATIONS[self.activation](x)
            if keep is not None and i < len(self.droppable):
                units = keep[:, first : first + width]
                x = jnp.where(units, x / (1.0 - self.dropout), jnp.zeros_like(x))
                first += width
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    @property
    def droppable(self) -> tuple[int, ...]:
        """Widths of the layers that have dropout."""
        return self.features[:-1][: self.dropped]


class Params(NamedTuple):
    """The trainable blocks. The frozen APOGEE decoder is never among them."""

    encoder: Variables
    hallucinator: Variables
    xp_decoder: Variables


class Absorbed(NamedTuple):
    """The blocks as prediction runs them: the same labels from fewer layers.

    Attributes:
        encoder: without its last layer, for :func:`encode_hidden`.
        xp_decoder: reads the encoder's last hidden layer, for :func:`decode_xp`.
        second: hallucinator and APOGEE decoder merged; reads the same, for
            :func:`read_hallucinated`.
    """

    encoder: Variables
    xp_decoder: Variables
    second: Variables


class Outputs(NamedTuple):
    """What the two branches say, in scaled units.

    Attributes:
        mean: labels of the XP decoder ``[star, label]``.
        log_sigma: ln of its standard deviation s_model ``[star, label]``.
        apogee_mean: labels that the frozen APOGEE decoder reads off the
            hallucinated spectrum ``[star, label]``.
        penalty: 1/2 |z|^2 of the hallucinator's components z; 0 without a basis ``[star]``.
    """

    mean: Labels
    log_sigma: Labels
    apogee_mean: Labels
    penalty: PerStar


def encoder(cfg: Model) -> MLP:
    """XP encoder: spectrum to latents. Its first layer is exact, for a spectrum has
    more digits than bfloat16."""
    return _block(cfg, (*cfg.encoder, cfg.latent), exact=(0,))


def xp_decoder(cfg: Model) -> MLP:
    """XP decoder: latents to a mean and a log-sigma a label."""
    return _reader(cfg, cfg.xp_decoder, 2 * cfg.n_labels)


def hallucinator(cfg: Model, width: int) -> MLP:
    """Hallucinator: latents to the line depths of an APOGEE-like spectrum, or to its
    components."""
    return _block(cfg, (*cfg.hallucinator, width))


def apogee_decoder(cfg: Model) -> MLP:
    """APOGEE decoder: line depths to labels."""
    return _reader(cfg, cfg.apogee_decoder, cfg.n_labels)


def merged_reader(cfg: Model) -> MLP:
    """Hallucinator and APOGEE decoder in one: latents to labels."""
    hidden = (*cfg.hallucinator, *cfg.apogee_decoder)
    return _reader(cfg, hidden, cfg.n_labels, dropped=len(cfg.hallucinator))


def _reader(cfg: Model, hidden: tuple[int, ...], width: int, dropped: int | None = None) -> MLP:
    """A block that gives labels: its last layer is exact."""
    return _block(cfg, (*hidden, width), dropped, exact=(len(hidden),))


def _block(
    cfg: Model,
    features: tuple[int, ...],
    dropped: int | None = None,
    exact: tuple[int, ...] = (),
) -> MLP:
    return MLP(features, cfg.dropout, dropped, cfg.compute, exact, cfg.activation, cfg.init_weights)


def init(key: jax.Array, cfg: Model, *, n_xp: int, n_pixels: int) -> Params:
    """Fresh parameters of the three trainable blocks.

    Args:
        key: of the random numbers.
        cfg: widths of the blocks.
        n_xp: values that the encoder is given of a spectrum.
        n_pixels: what the hallucinator gives, pixels or components (:func:`basis.width`).

    Returns:
        The parameters, float32.

    Examples:
        >>> cfg = Model(encoder=(5,), latent=3, hallucinator=(4,), xp_decoder=(4,),
        ...             apogee_decoder=(2,))
        >>> params = init(jax.random.key(0), cfg, n_xp=6, n_pixels=7)
        >>> latents = encode(cfg, params, jnp.ones((2, 6)))
        >>> decoder = init_apogee_decoder(jax.random.key(1), cfg, n_pixels=7)
        >>> latents.shape, hallucinate(cfg, params, decoder, latents).shape
        ((2, 3), (2, 7))
        >>> mean, log_sigma = decode_xp(cfg, params, latents)
        >>> mean.shape
        (2, 4)
    """
    keys = jax.random.split(key, 3)
    latents = jnp.zeros((1, cfg.latent))
    hallucinating = hallucinator(cfg, n_pixels).init(keys[1], latents)
    if cfg.hallucinator_basis is not None:
        # Every spectrum begins as the mean one: what changes no label is never stirred up.
        last = hallucinating["params"][f"Dense_{len(cfg.hallucinator)}"]
        last["kernel"] = jnp.zeros_like(last["kernel"])
    return Params(
        encoder=encoder(cfg).init(keys[0], jnp.zeros((1, n_xp))),
        hallucinator=hallucinating,
        xp_decoder=xp_decoder(cfg).init(keys[2], latents),
    )


def init_apogee_decoder(key: jax.Array, cfg: Model, *, n_pixels: int) -> Variables:
    """Fresh parameters of the APOGEE decoder, to be pre-trained.

    Args:
        key: of the random numbers.
        cfg: widths of the blocks.
        n_pixels: pixels of a spectrum.

    Returns:
        The parameters, float32.
    """
    return apogee_decoder(cfg).init(key, jnp.zeros((1, n_pixels)))


def _run(block: MLP, variables: Variables, x: jax.Array, key: jax.Array | None) -> jax.Array:
    if key is None or block.dropout == 0:
        return jnp.asarray(block.apply(variables, x))
    width = sum(block.droppable)
    draw = partial(jax.random.bernoulli, p=1.0 - block.dropout)
    if key.ndim == 0:
        keep = draw(key, shape=(len(x), width))
    else:
        keep = jax.vmap(partial(draw, shape=(width,)))(key)
    return jnp.asarray(block.apply(variables, x, keep))


def _split(key: jax.Array | None) -> jax.Array | tuple[None, None, None]:
    """Keys of three blocks ``[block, ...]``."""
    if key is None:
        return None, None, None
    split = partial(jax.random.split, num=3)
    return split(key) if key.ndim == 0 else jax.vmap(split, out_axes=1)(key)


def encode(cfg: Model, params: Params, xp: XP, key: jax.Array | None = None) -> Latents:
    """Scaled XP spectra to latents.

    Args:
        cfg: sizes of the blocks.
        params: of :func:`init`.
        xp: scaled spectra.
        key: drives dropout: one, or one a star; ``None`` switches it off.

    Returns:
        Latents ``[star, latent]``.
    """
    return _run(encoder(cfg), params.encoder, xp, key)


def encode_hidden(cfg: Model, params: Absorbed, xp: XP) -> Hidden:
    """Scaled XP spectra to the encoder's last hidden layer; themselves if it has none.

    Args:
        cfg: sizes of the blocks.
        params: of :func:`absorb`.
        xp: scaled spectra.

    Returns:
        ``[star, hidden]``.
    """
    if not cfg.encoder:
        return xp
    hidden = _block(cfg, cfg.encoder, exact=(0,))
    return ACTIVATIONS[cfg.activation](_run(hidden, params.encoder, xp, None))


def decode_xp(
    cfg: Model, params: Params | Absorbed, latents: Latents, key: jax.Array | None = None
) -> tuple[Labels, Labels]:
    """Latents to scaled labels and the ln of their standard deviations.

    Args:
        cfg: sizes of the blocks.
        params: of :func:`init`.
        latents: of :func:`encode`; of :func:`encode_hidden` for absorbed blocks.
        key: drives dropout; ``None`` switches it off.

    Returns:
        Means and ln of standard deviations, each ``[star, label]``.
    """
    both = _run(xp_decoder(cfg), params.xp_decoder, latents, key)
    mean, log_sigma = jnp.split(both, 2, axis=-1)
    return mean, log_sigma


def hallucinate(
    cfg: Model,
    params: Params,
    decoder: Variables,
    latents: Latents,
    key: jax.Array | None = None,
) -> Spectra:
    """Latents to APOGEE-like normalised flux.

    Args:
        cfg: sizes of the blocks.
        params: of :func:`init`.
        decoder: the APOGEE decoder, for its basis.
        latents: of :func:`encode`.
        key: drives dropout; ``None`` switches it off.

    Returns:
        Flux over the continuum ``[star, pixel]``.
    """
    return 1.0 - basis.expand(decoder, _give(cfg, params, latents, key))


def _give(
    cfg: Model, params: Params, latents: Latents, key: jax.Array | None
) -> Float[Array, "star given"]:
    """What the hallucinator gives of the spectrum: line depths, or components."""
    block = hallucinator(cfg, output_width(params.hallucinator))
    return _run(block, params.hallucinator, latents, key)


def decode_apogee(
    cfg: Model, variables: Variables, flux: Spectra, key: jax.Array | None = None
) -> Labels:
    """Normalised APOGEE(-like) flux to scaled labels.

    Args:
        cfg: sizes of the blocks.
        variables: of :func:`init_apogee_decoder`, pre-trained.
        flux: over the continuum.
        key: drives dropout; ``None`` switches it off.

    Returns:
        Scaled labels ``[star, label]``.
    """
    return _run(apogee_decoder(cfg), variables, 1.0 - flux, key)


def merge(params: Params, decoder: Variables, compute: str = "float32") -> Variables:
    """Hallucinator and APOGEE decoder as one MLP, without the spectrum between them.

    The decoder's first layer applied to the hallucinator's last one,
    (h W_h + b_h) W_d + b_d, is the layer h (W_h W_d) + (b_h W_d + b_d).

    Args:
        params: the trainable blocks; the hallucinator's are used.
        decoder: the APOGEE decoder.
        compute: type of the factors W_h and W_d; the product is float32.

    Returns:
        the parameters that :func:`read_hallucinated` takes.
    """
    first, second = params.hallucinator["params"], basis.reader_of(decoder)["params"]
    depth, read = first[f"Dense_{len(first) - 1}"], second["Dense_0"]
    layers = [first[f"Dense_{i}"] for i in range(len(first) - 1)]
    kernel = jnp.matmul(
        depth["kernel"].astype(compute),
        read["kernel"].astype(compute),
        preferred_element_type=jnp.float32,
    )
    layers.append({"kernel": kernel, "bias": depth["bias"] @ read["kernel"] + read["bias"]})
    layers += [second[f"Dense_{i}"] for i in range(1, len(second))]
    return {"params": {f"Dense_{i}": layer for i, layer in enumerate(layers)}}


def absorb(params: Params, decoder: Variables) -> Absorbed:
    """The blocks as prediction runs them; training keeps them apart.

    Latents are a linear function of the encoder's last hidden layer, and both blocks
    that read them begin with a linear one: W_e W_r and b_e W_r + b_r are one layer.

    Args:
        params: the trained blocks.
        decoder: the APOGEE decoder.

    Returns:
        One layer less, the same labels to rounding.
    """
    layers = params.encoder["params"]
    last = layers[f"Dense_{len(layers) - 1}"]
    hidden = {name: layers[name] for name in layers if layers[name] is not last}

    def reads_hidden(reader: Variables) -> Variables:
        first = reader["params"]["Dense_0"]
        kernel = jnp.matmul(last["kernel"], first["kernel"], precision="highest")
        bias = jnp.matmul(last["bias"], first["kernel"], precision="highest") + first["bias"]
        return {"params": reader["params"] | {"Dense_0": {"kernel": kernel, "bias": bias}}}

    return Absorbed(
        encoder={"params": hidden},
        xp_decoder=reads_hidden(params.xp_decoder),
        second=reads_hidden(merge(params, decoder)),
    )


def read_hallucinated(
    cfg: Model, merged: Variables, latents: Latents, key: jax.Array | None = None
) -> Labels:
    """Latents to the scaled labels of the second branch, without its spectrum.

    Equal, to float tolerance, to :func:`decode_apogee` of :func:`hallucinate`;
    dropout acts on the hallucinator's layers alone, with the same masks.

    Args:
        cfg: sizes of the blocks.
        merged: of :func:`merge`.
        latents: of :func:`encode`.
        key: drives dropout; ``None`` switches it off.

    Returns:
        Scaled labels ``[star, label]``.
    """
    return _run(merged_reader(cfg), merged, latents, key)


def last_of_hallucinator(params: Params, decoder: Variables) -> Variables:
    """What absorbed blocks lack to make a spectrum: all else is in :attr:`Absorbed.second`.

    Args:
        params: the trained blocks.
        decoder: the APOGEE decoder, for its basis.

    Returns:
        The hallucinator's last layer, and the basis where there is one.
    """
    layers = params.hallucinator["params"]
    kept = {name: decoder[name] for name in decoder if name != "params"}
    return kept | {"params": {"Dense_0": layers[f"Dense_{len(layers) - 1}"]}}


def hallucinate_absorbed(cfg: Model, params: Absorbed, last: Variables, hidden: Hidden) -> Spectra:
    """The encoder's last hidden layer to APOGEE-like normalised flux, as :func:`hallucinate`.

    Args:
        cfg: sizes of the blocks.
        params: of :func:`absorb`.
        last: of :func:`last_of_hallucinator`.
        hidden: of :func:`encode_hidden`.

    Returns:
        Flux over the continuum ``[star, pixel]``.
    """
    if cfg.hallucinator:
        first = {
            f"Dense_{i}": params.second["params"][f"Dense_{i}"]
            for i in range(len(cfg.hallucinator))
        }
        given = _run(_block(cfg, cfg.hallucinator), {"params": first}, hidden, None)
        hidden = ACTIVATIONS[cfg.activation](given)
    width = output_width(last)
    return 1.0 - basis.expand(last, _run(MLP((width,)), last, hidden, None))


def merging_pays(cfg: Model, *, n_pixels: int, batch: int) -> bool:
    """Whether a training step multiplies less with the merged layer.

    With h and d the widths on both sides of p pixels, and b stars, a step
    multiplies, forward, for the gradient of its inputs and for that of W_h,

    - spelled out: b p (h + d) + b p (h + d) + b p h;
    - merged: h p d + b h d, then 2 b h d and h p d.

    Args:
        cfg: sizes of the blocks.
        n_pixels: p.
        batch: b.

    Returns:
        Whether the second count is the smaller one.
    """
    h = (cfg.latent, *cfg.hallucinator)[-1]
    d = (*cfg.apogee_decoder, cfg.n_labels)[0]
    spelled_out = batch * n_pixels * (3 * h + 2 * d)
    return 2 * h * n_pixels * d + 3 * batch * h * d < spelled_out


def apply(
    cfg: Model, params: Params, decoder: Variables, xp: XP, key: jax.Array | None = None
) -> Outputs:
    """Both branches of Fig. 3, as a training step runs them.

    The second branch is merged or spelled out, whichever multiplies less; with a basis it is
    a matter of components, and no spectrum is made.

    Args:
        cfg: sizes of the blocks.
        params: the trainable blocks.
        decoder: the frozen APOGEE decoder, which is run without dropout always:
            it is an instrument here, not a learner.
        xp: scaled spectra.
        key: drives dropout: one, or one a star; ``None`` switches it off.

    Returns:
        Labels of both branches, scaled.
    """
    encoder_key, decoder_key, branch_key = _split(key)
    latents = encode(cfg, params, xp, encoder_key)
    mean, log_sigma = decode_xp(cfg, params, latents, decoder_key)
    penalty = jnp.zeros(len(xp), mean.dtype)
    if basis.has_basis(decoder):
        z = _give(cfg, params, latents, branch_key)
        apogee_mean = _run(apogee_decoder(cfg), basis.reader_of(decoder), z, None)
        penalty = 0.5 * jnp.square(z).sum(axis=-1)
    elif merging_pays(cfg, n_pixels=output_width(params.hallucinator), batch=len(xp)):
        apogee_mean = read_hallucinated(
            cfg, merge(params, decoder, cfg.compute), latents, branch_key
        )
    else:
        flux = hallucinate(cfg, params, decoder, latents, branch_key)
        apogee_mean = decode_apogee(cfg, decoder, flux)
    return Outputs(mean, log_sigma, apogee_mean, penalty)


def output_width(variables: Variables) -> int:
    """Width of the last layer of an MLP's parameters.

    Args:
        variables: of an MLP; a leading axis of members is passed over.

    Returns:
        The number of outputs.
    """
    layers = variables["params"]
    return int(layers[f"Dense_{len(layers) - 1}"]["bias"].shape[-1])
