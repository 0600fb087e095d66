"""Head CT of intracranial haemorrhage as published: "Head-CT 2D/3D images with and without ICH prepared for Deep Learning" (CSIC).

The cohort of Cobo et al. 2024 (papers.md 3.1), on request at digital.csic.es/handle/10261/275792. `GOOD_PROGNOSIS/` and
`POOR_PROGNOSIS/` hold skull-stripped scans `<id>_brain.nii.gz`; `CLINICAL_DATA_ICH.csv` holds 42 predictors and the outcome. Any folder of
this layout will do: scans may lie in it directly or up to two folders deep, and to be predicted neither the outcome's folders nor the CSV
are needed.

| column | meaning |
|---|---|
| patient_id | as in the scan's name, else as in the CSV |
| ct | the scan, empty where there is none |
| poor_prognosis | 0 or 1: the folder's, else the CSV's, else empty; where both are there they must agree |
| left_out | why a patient has no part in training, empty for the others |
| those of COLUMNS | the CSV's predictors, verbatim but for the decimal sign; empty where it has none |

Patient 213 is left out of training, as in the paper's code, where scans lie in folders of outcomes and the CSV has that patient; the
flow of patients says so.
"""

import re
import unicodedata

import pandas as pd
from absl import logging
from etils import epath

from jaxstroke import config as settings
from jaxstroke.cohort import labels
from jaxstroke.cohort.csv_file import read_csv, write_csv
from jaxstroke.errors import InputError, nearest

# Column here -> in the published CSV. MH: medical history. PE: physical examination.
COLUMNS = {
    "age": "Age", "gcs": "GCS", "gender": "Gender",
    "smoker": "Smoker", "alcohol": "Alcohol", "hypertension": "HT", "diabetes": "DM", "dyslipidemia": "Dyslipidemia",
    "history_ich": "MH_ICH", "history_cvd": "MH_CVD", "history_neuro": "MH_neuro", "history_dementia": "MH_dementia",
    "history_cancer": "MH_cancer", "history_haemato": "MH_hematho", "history_others": "MH_others",
    "anticoagulant": "Anticoagulant", "antiaggregant": "Antiaggregant", "antihypertensive": "Antihypertensive_drugs",
    "calcium_antagonist": "Calcium_antag", "alpha_blocker": "Alpha_blockers", "examination_neuro": "PE_neuro",
    "head_trauma": "Cause_head_trauma",
    "systolic_pressure": "Systolic_AP", "diastolic_pressure": "Dyastolic_AP", "oxygen_saturation": "OxSat", "temperature": "Tº",
    "heart_rate": "HR", "respiratory_rate": "RF", "glucose": "Glucose", "creatinine": "Creatinine", "urea": "Urea",
    "sodium": "Sodium", "potassium": "Potassium", "wbc": "WBC", "haemoglobin": "Hgb", "platelets": "Platelets", "mcv": "MCV",
    "rdw": "RCDW", "mchc": "CMHC", "mpv": "MPV", "inr": "INR", "fibrinogen": "Fibrinogen",
}  # fmt: skip
LABEL = "Label (poor_prognosis)"
IDS = (
    "ID", "Patient ID", "Patient", "ID Patient", "Nº", "Nº Patient", "Patient Nº", "Number", "Patient number", "Case", "Case ID", "Subject",
    "Subject ID", "Code", "Paciente", "ID Paciente", "Nº Paciente",
)  # fmt: skip
TABLE = "clinical_data_ich.csv"
SCAN = re.compile(r"([^.].*)_brain\.nii(?:\.gz)?", re.IGNORECASE)
OUTCOMES = {"good_prognosis": "0", "poor_prognosis": "1"}  # folder, in lower case -> poor_prognosis
LEFT_OUT = {"213": "patient 213, left out as in the paper's code"}
DEEPEST = ("*", "*/*", "*/*/*")


def make(config, workdir) -> str:
    """Write `<workdir>/cohort.csv` from the folder `cohort.root`; returns its path."""
    path = epath.Path(workdir) / "cohort.csv"
    write_csv(table(config.cohort.root), path)
    return str(path)


def table(root) -> pd.DataFrame:
    """One row a patient, those with a scan first in the order of their numbers; paths absolute, missing cells empty.

    Raises InputError where there is no scan, two scans of a patient, no column of ids, or an outcome that folder and CSV tell differently.
    """
    folder = epath.Path(root).expanduser().resolve() if root else None
    inside = sorted(path for depth in DEEPEST for path in folder.glob(depth)) if folder and folder.is_dir() else []
    found = scans(inside)
    if not found:
        raise InputError(
            f"config.cohort.root '{root}' has no <id>_brain.nii.gz, in it or up to two folders deep: set --config.cohort.root to a folder "
            "with GOOD_PROGNOSIS and POOR_PROGNOSIS as published, or with skull-stripped scans named like that."
        )
    clinical = clinical_rows(inside, found)
    as_published = any(outcome_of(path) for path in found.values())
    keys = [*sorted(found, key=order), *(key for key in clinical if key not in found)]
    rows = [row_of(key, found.get(key), clinical.get(key, {})) for key in keys]
    left_out = [LEFT_OUT.get(key, "") if as_published and key in clinical else "" for key in keys]
    return pd.DataFrame(rows).assign(left_out=left_out)


def scans(inside: list[epath.Path]) -> dict[str, epath.Path]:
    """Patient -> scan."""
    found: dict[str, epath.Path] = {}
    for path in inside:
        name = SCAN.fullmatch(path.name)
        if name:
            first = found.setdefault(key_of(name[1]), path)
            if first != path:
                raise InputError(f"patient '{key_of(name[1])}' has two scans, {first} and {path}: remove one.")
    return found


def key_of(cell: str) -> str:
    """One form of an id for both sources: 7, 007 and 7.0 are one patient."""
    whole = cell.strip().removesuffix(".0")
    return str(int(whole)) if whole.isdecimal() else whole


def order(key: str) -> tuple:
    """Numbers by size, then the others."""
    return (0, int(key), "") if key.isdecimal() else (1, 0, key)


def outcome_of(path: epath.Path | None) -> str:
    """What the folder says, "" where it is none of an outcome. The nearest folder decides."""
    above = [] if path is None else [parent.name.lower() for parent in list(path.parents)[:2]]
    return next((OUTCOMES[name] for name in above if name in OUTCOMES), "")


def row_of(key: str, scan: epath.Path | None, clinical: dict[str, str]) -> dict[str, str]:
    """A row of the table."""
    told, written = outcome_of(scan), clinical.get("label", "")
    if told and written and told != written:
        raise InputError(
            f"patient '{key}' lies in {scan.parent.name}, but column '{LABEL}' of the clinical table says {written}: correct one of them."
        )
    row = {"patient_id": key if scan is None else SCAN.fullmatch(scan.name)[1], "ct": "" if scan is None else str(scan)}
    return row | {"poor_prognosis": told or written} | {name: clinical.get(name, "") for name in COLUMNS}


def clinical_rows(inside: list[epath.Path], found) -> dict[str, dict[str, str]]:
    """Patient -> {column here, or "label": cell} of the clinical table; nothing where there is none."""
    tables = [path for path in inside if path.name.lower() == TABLE]
    if not tables:
        logging.warning("no CLINICAL_DATA_ICH.csv beside the scans: their clinical columns are empty")
        return {}
    path = tables[0]
    frame, delimiter = read_csv(path, code_page="cp1252")  # a spreadsheet's: its 'Tº' is no UTF-8
    plain = {name: simple(name) for name in frame}
    published = {simple(old): new for new, old in (COLUMNS | {"label": LABEL}).items()} | {"t": "temperature"}  # 'T°', with a degree sign
    names = {column: published[short] for column, short in plain.items() if short in published}
    id_column = id_of(path, frame, [column for column in frame if column not in names], found)
    rows: dict[str, dict[str, str]] = {}
    for cells in frame.to_dict("records"):
        key = key_of(cells[id_column])
        if not key or key in rows:
            raise InputError(f"{path}, column '{id_column}': " + (f"patient '{key}' is there twice" if key else "a cell is empty") + ".")
        rows[key] = {name: plain_number(cells[column], delimiter) for column, name in names.items()}
        rows[key]["label"] = label_of(path, key, rows[key].get("label", ""))
    return rows


def simple(name: str) -> str:
    """A column's name without case, accents, signs and spaces: 'Tº' -> 'to'."""
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", name).lower())


def id_of(path, frame: pd.DataFrame, columns: list[str], found) -> str:
    """The column with the patients' ids: by its name, else the only one whose cells are unlike each other and among them a scan's."""
    known = [simple(name) for name in IDS]
    named = sorted((column for column in columns if simple(column) in known), key=lambda column: known.index(simple(column)))
    fits = [column for column in columns if frame[column].is_unique and any(key_of(cell) in found for cell in frame[column])]
    chosen = [column for column in named if column in fits] or (fits if len(fits) == 1 else named[:1])
    if not chosen:
        raise InputError(f"{path} has no column of patients' ids: name it 'ID'.{nearest('ID', columns)}")
    return chosen[0]


def plain_number(cell: str, delimiter: str) -> str:
    """The cell with a decimal point, where a table delimited by ';' has a decimal comma."""
    return cell.replace(",", ".") if delimiter == ";" and labels.DECIMAL_COMMA.fullmatch(cell) else cell


def label_of(path, key: str, cell: str) -> str:
    """'0', '1' or ''."""
    if cell in settings.MISSING:
        return ""
    value = labels.number(cell)
    if value not in (0, 1):
        raise InputError(f"{path}: patient '{key}', column '{LABEL}' must be 0 (good) or 1 (poor), or empty.")
    return str(int(value))
