"""Wrote `patients.csv` once: 150 made-up patients with two models' probabilities, three readers' grades, folds and groups.

    python tests/reference/make_patients.py        (numpy 2.4, seed 20)

The file is committed, so that reference values do not hang on a generator of random numbers. Probabilities have two decimals: many ties.
"""

import pathlib

import numpy as np
import pandas as pd

PATIENTS, SEED = 150, 20


def patients() -> pd.DataFrame:
    """Columns patient, fold, group, label, first, second, reader_a, reader_b, reader_c."""
    random = np.random.default_rng(SEED)
    signal = random.normal(size=PATIENTS)
    label = (random.random(PATIENTS) < 1 / (1 + np.exp(0.5 - 1.4 * signal))).astype(int)
    models = {
        name: np.clip(1 / (1 + np.exp(0.3 - slope * (signal + random.normal(size=PATIENTS)))), 0.01, 0.99).round(2)
        for name, slope in (("first", 1.1), ("second", 0.7))
    }
    grades = {
        f"reader_{name}": np.clip(np.round(1.6 + signal + noise * random.normal(size=PATIENTS)), 0, 4).astype(int)
        for name, noise in (("a", 0.6), ("b", 0.9), ("c", 1.3))
    }
    place = np.arange(PATIENTS)
    ids = [f"p{number:03d}" for number in place]
    group = np.array(list("ABC"))[place // 3 % 3]
    return pd.DataFrame({"patient": ids, "fold": place % 3, "group": group, "label": label} | models | grades)


if __name__ == "__main__":
    patients().to_csv(pathlib.Path(__file__).parent / "patients.csv", index=False, lineterminator="\n")
