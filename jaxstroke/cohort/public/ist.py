"""The International Stroke Trial as published: `ist.csv.gz` (or `.csv`) to a table of admission columns and the outcome at six months.

Sandercock et al. 2011, Trials 12:101, doi 10.7488/ds/104 (ODC-By). Columns keep the trial's names in
lower case, so that its data dictionary applies:

| column | meaning |
|---|---|
| rdelay, age, rsbp | hours from stroke to randomisation, years, systolic blood pressure in mmHg |
| rconsc | F alert, D drowsy, U unconscious |
| sex | M, F |
| rsleep, ratrial, rct, rvisinf | woke with symptoms, atrial fibrillation, CT before randomisation, infarct visible on it: Y, N |
| rhep24, rasp3 | heparin within 24 hours, aspirin within 3 days before: Y, N |
| rdef1 to rdef8 | deficit: face, arm, leg, dysphasia, hemianopia, visuospatial, brainstem, other: Y, N, C cannot be assessed |
| stype | TACS, PACS, LACS, POCS, OTH |
| hospital, country | for splits by centre |
| expected | the trial's own predicted probability of death or dependence at six months (EXPDD), a comparator |
| dead_or_dependent | the outcome: OCCODE 1 dead, 2 dependent -> 1; 3 not recovered, 4 recovered -> 0; 0, 9 missing |
"""

import gzip
import io
import zlib

import pandas as pd
from etils import epath

from jaxstroke.cohort.csv_file import write_csv
from jaxstroke.errors import InputError

NUMERIC = ("RDELAY", "AGE", "RSBP")
CATEGORICAL = ("RCONSC", "SEX", "RSLEEP", "RATRIAL", "RCT", "RVISINF", "RHEP24", "RASP3", *(f"RDEF{n}" for n in range(1, 9)), "STYPE")
OTHERS = {"HOSPNUM": "hospital", "COUNTRY": "country", "EXPDD": "expected"}
OUTCOME = {"1": "1", "2": "1", "3": "0", "4": "0"}
NAMES = ("ist.csv.gz", "ist.csv")


def make(config, workdir) -> str:
    """Write `<workdir>/cohort.csv` from the folder `cohort.root`; returns its path."""
    path = epath.Path(workdir) / "cohort.csv"
    write_csv(table(config.cohort.root), path)
    return str(path)


def table(root) -> pd.DataFrame:
    """One row a patient; `patient_id` is the row's number, as the file has none. Raises InputError on a file not as published."""
    folder = epath.Path(root).expanduser() if root else None
    found = [folder / name for name in NAMES if (folder / name).exists()] if folder else []
    if not found:
        raise InputError(f"config.cohort.root '{root}' has no ist.csv.gz: set --config.cohort.root to the folder that has it.")
    frame = _read(found[0])
    missing = [name for name in (*NUMERIC, *CATEGORICAL) if name not in frame]
    if missing:
        raise InputError(f"{found[0]} has no column '{missing[0]}': is it the trial's published file?")
    made = {"patient_id": [f"ist-{row:05d}" for row in range(1, len(frame) + 1)]}
    made |= {name.lower(): frame[name] for name in (*NUMERIC, *CATEGORICAL)}
    made |= {new: frame[name] for name, new in OTHERS.items() if name in frame}
    if "OCCODE" in frame:
        made["dead_or_dependent"] = [OUTCOME.get(code, "") for code in frame["OCCODE"]]
    return pd.DataFrame(made)


def _read(path: epath.Path) -> pd.DataFrame:
    """The published file as stripped strings; it holds bytes of an old code page in free text, which no column read here uses."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.name.endswith(".gz") else content
        frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, encoding="latin-1")
    except (EOFError, zlib.error, gzip.BadGzipFile, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): download it again.") from None
    return frame.apply(lambda column: column.str.strip())
