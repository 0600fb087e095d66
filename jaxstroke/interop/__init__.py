"""Weights of other frameworks into our networks."""
