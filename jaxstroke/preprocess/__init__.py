"""Scans and clinical columns to records, once: deterministic numpy, no JAX, so that worker processes start fast and touch no device."""
