"""The merge rules of paper 1 by hand."""

import jax.numpy as jnp
import numpy as np

from jaxstroke.models import fusion


def test_weight_is_clipped():
    np.testing.assert_allclose(fusion.weight(jnp.array([0.0, 21.0, 60.0]), 42.0, (0.02, 0.98)), [0.02, 0.5, 0.98])


def test_mean_skips_missing_modules_and_falls_back_on_the_prior():
    p = jnp.array([[[0.2], [0.6]], [[0.9], [0.1]], [[0.5], [0.5]]])
    present = jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(fusion.mean(p, present, 0.35)[:, 0], [0.4, 0.9, 0.35], atol=1e-7)


def test_poe_is_bayes_with_the_weight_as_prior_odds():
    p, c = 0.7, 0.2
    odds = p / (1 - p) * c / (1 - c)
    np.testing.assert_allclose(fusion.poe(jnp.array([[p]]), jnp.array([c])), [[odds / (1 + odds)]], rtol=1e-6)


def test_poe_with_an_even_weight_changes_nothing():
    p = jnp.array([[0.1], [0.5], [0.93]])
    np.testing.assert_allclose(fusion.poe(p, jnp.full(3, 0.5)), p, rtol=1e-6)


def test_scalar_multiplies():
    np.testing.assert_allclose(fusion.scalar(jnp.array([[0.5, 0.25]]), jnp.array([0.4])), [[0.2, 0.1]], rtol=1e-6)


def test_logit_is_finite_at_both_ends():
    assert np.isfinite(fusion.logit(jnp.array([0.0, 1.0]))).all()
