"""From `predictions.csv` to numbers and a report: numpy, SciPy and scikit-learn only, no JAX, no other room of the package."""
