"""The rows of the comparison: what is computed, at which size. Both sides take their numbers from here. numpy only."""

from dataclasses import dataclass

import numpy as np

MRI_IMAGES = {"lesion": (12, 40, 40, 1), "views": (3, 48, 48, 3)}  # s h w c: `configs/mri_cnn_lstm.py:soop`


@dataclass(frozen=True)
class Row:
    """network: one of NETWORKS. shape: d h w of a volume, h w of a photograph, () where the network's images are fixed.

    batch: patients, or images (simclr: of both views together). device: cpu | gpu. dtype: of the computation, parameters are float32.
    variants: of the PyTorch side, some of ALL. steps: timed in one turn.
    """

    name: str
    network: str
    what: str
    batch: int
    shape: tuple[int, ...]
    dtype: str
    device: str
    variants: tuple[str, ...]
    steps: int


PLAIN = ("eager", "channels_last", "compile")
ALL = (*PLAIN, "channels_last_compile")
ICH = "3D DenseNet121, three heads, 0.4 / 0.3 / 0.3 BCE, AdamW with amsgrad: forward, backward, update"
ROWS = {
    row.name: row
    for row in (
        Row("densenet", "densenet", ICH, 2, (40, 96, 96), "float32", "cpu", PLAIN, 3),
        Row("mri", "mri", "two CNN-LSTM, two tasks each, AdamW, clipping: forward, backward, update", 16, (), "float32", "cpu", PLAIN, 20),
        Row("resnet50", "resnet50", "2D ResNet-50 v1.5: forward, backward", 16, (224, 224), "float32", "cpu", PLAIN, 2),
        Row("densenet_gpu", "densenet", ICH, 8, (40, 301, 301), "bfloat16", "gpu", ALL, 10),
        Row(
            "simclr_gpu", "simclr", "ResNet-50, projection 2048-2048-128, NT-Xent, AdamW: forward, backward, update",
            256, (224, 224), "bfloat16", "gpu", ALL, 10,
        ),
    )
}  # fmt: skip


def densenet(row: Row, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`ct`: b d h w 1; labels `b`: prognosis and age 0 or 1, gcs 0 to 2 (cut-offs reached)."""
    labels = {"prognosis": rng.integers(0, 2, row.batch), "gcs": rng.integers(0, 3, row.batch), "age": rng.integers(0, 2, row.batch)}
    return {"ct": rng.random((row.batch, *row.shape, 1))} | labels


def mri(row: Row, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Images `b s h w c`, labels `b`: mrs 0 to 6, poor = mrs above 2."""
    mrs = rng.integers(0, 7, row.batch)
    return {name: rng.random((row.batch, *shape)) for name, shape in MRI_IMAGES.items()} | {"poor": mrs > 2, "mrs": mrs}


def photographs(row: Row, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`image`: n h w 3. Of simclr, rows i and i + n / 2 are two views of one image."""
    if row.network == "simclr" and row.batch % 2:
        raise SystemExit(f"--batch {row.batch}: simclr takes two views of every image, so an even number of them")
    return {"image": rng.normal(size=(row.batch, *row.shape, 3))}


NETWORKS = {"densenet": densenet, "mri": mri, "resnet50": photographs, "simclr": photographs}


def arrays(row: Row) -> dict[str, np.ndarray]:
    """The row's batch, float32, channels last, the same on both sides."""
    return {name: np.asarray(array, np.float32) for name, array in NETWORKS[row.network](row, np.random.default_rng(0)).items()}
