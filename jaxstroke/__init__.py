"""jaxstroke: five published networks that predict the outcome of stroke, in JAX. Research software, not a medical device."""

__version__ = "0.1.0"
