"""Load the exported model and score a batch of zeros: put prepared patients in their place (preprocessing.json says how).

Needs jax, numpy and flatbuffers, and no other package: pip install jax flatbuffers. Research software, not a medical device.
"""

import json
import pathlib

import jax
import jax.export
import numpy as np

folder = pathlib.Path(__file__).resolve().parent
described = json.loads((folder / "preprocessing.json").read_text())
model = jax.export.deserialize(bytearray((folder / "model.jaxexport").read_bytes()))
numbers = dict(np.load(folder / "weights.npz"))
score = jax.jit(model.call)


def zeros(patients: int) -> dict[str, np.ndarray]:
    """A batch of patients of whom nothing is known."""
    return {name: np.zeros((patients, *one["shape"][1:]), one["dtype"]) for name, one in described["inputs"].items()}


found = score(numbers, zeros(patients=2))
for kind, tasks in found.items():
    for task, values in tasks.items():
        print(kind, task, described["tasks"][task]["labels"], np.asarray(values).round(4).tolist())
