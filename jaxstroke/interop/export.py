"""`--mode export`: a trained workdir's ensemble for programs without this package. Under `export/`:

model.jaxexport      one function of numbers and a batch, for CPU, CUDA and TPU, any number of patients (`artefact`)
weights.npz          its numbers: every network's weights and what was fitted in each fold
preprocessing.json   how inputs are made and outputs are meant (`preprocessing`)
load_and_run.py      loads both and scores a batch of zeros; needs jax, numpy and flatbuffers
model_card.md        what the model is and is not for, how it was made and how well it does, with blanks (`model_card`)

No patient's value or id is in any of them.
"""

import hashlib
import importlib.util
import io
import pathlib

import jax
import numpy as np
from etils import epath

from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.errors import InputError
from jaxstroke.evaluation import files
from jaxstroke.feed import load
from jaxstroke.interop import artefact, model_card, preprocessing
from jaxstroke.preprocess import clinical, records
from jaxstroke.training import engine as engines
from jaxstroke.training import predict

TEMPLATES = pathlib.Path(__file__).parent / "templates"
MODEL, WEIGHTS = "model.jaxexport", "weights.npz"


def export(config, workdir: epath.Path):
    """Write `<workdir>/export`."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError("--mode export writes with the package flatbuffers, which is not installed: pip install flatbuffers")
    if settings.reads(config):
        raise InputError(
            "--mode export writes networks that read images and columns; reports are read by a vocabulary of each fold, which an artefact "
            "cannot hold. --mode predict scores new patients with reports"
        )
    written = predict.check_whole(config, workdir)
    kept = predict.read_model(workdir)
    schema = load.network_schema(config, clinical.from_json(kept["schema"]))
    trees = networks(config, workdir, schema, kept)
    program, numbers, read = artefact.export(config, schema, trees)
    folder = workdir / "export"
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {MODEL: write_bytes(folder / MODEL, program), WEIGHTS: write_bytes(folder / WEIGHTS, packed(numbers))}
    described = preprocessing.describe(config, schema, kept, read, hashes)
    work.write_json(folder / "preprocessing.json", described)
    files.write_text(folder / "load_and_run.py", (TEMPLATES / "load_and_run.py").read_text())
    files.write_text(folder / "model_card.md", model_card.render(workdir, written, described, parameters(trees[0])))
    size = (len(program) + sum(x.nbytes for x in numbers.values())) / 2**20
    print(f"{len(trees)} networks, {size:.1f} MiB: {folder / MODEL}\ntry it: python {folder / 'load_and_run.py'}")


def networks(config, workdir: epath.Path, schema, kept: dict) -> list[dict]:
    """The numbers of every outer network, see `artefact.numbers_of`."""
    fitted = predict.fitted_numbers(kept)
    like = artefact.abstract_variables(config, schema, next(iter(fitted.values())))
    finished = engines.finished_runs(workdir)
    try:
        return [artefact.numbers_of(config, schema, kept, run_id, finished.load(run_id, like)) for run_id in kept["fold"]]
    finally:
        finished.close()


def parameters(tree: dict) -> int:
    """Trained numbers of one network."""
    return sum(x.size for x in jax.tree.leaves(tree["network"]["params"]))


def packed(numbers: dict[str, np.ndarray]) -> bytes:
    """The numbers as an uncompressed .npz: weights do not compress."""
    file = io.BytesIO()
    np.savez(file, **numbers)
    return file.getvalue()


def write_bytes(path: epath.Path, content: bytes) -> str:
    """Write whole or not at all; the sha256."""
    records.write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()
