"""`--mode benchmark`: what a step costs. On synthetic arrays nothing is imported that reads files: JAX, Flax, Optax, ml-collections and
etils are enough."""
