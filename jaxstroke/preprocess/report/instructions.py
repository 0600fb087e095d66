"""What a language model is asked: the instructions, and what it sees of a patient, as the messages of a chat."""

import base64
import hashlib
import json

from jaxstroke.preprocess.report.findings import Findings, Seen, to_json
from jaxstroke.preprocess.report.sections import SECTIONS

INSTRUCTIONS = """\
You are a neuroradiologist. You write the report of a brain scan from measurements of the segmented lesion (the findings) and, where they \
are given, from key slices of the scan. Nothing else is known of the patient.

Answer with one JSON object and nothing around it. It has exactly these keys; each holds a text of one or two short sentences, or an empty \
text where neither findings nor slices say anything of it:
- side: the hemisphere, or both.
- territories: the territories that are touched, the largest part of the lesion first, and the share of each that is lesion.
- size: volume in ml and largest diameter in mm.
- lesions: how many there are, a single one or several.
- signal: the signal inside the lesion beside that of the brain around it, for each image; a ratio above 1 is hyperintense.
- impression: one sentence that sums up the others.

Rules:
- Tell only what the findings hold or the slices show. Where they disagree, the findings are right.
- Every number is one of the findings, at most rounded, in the findings' own unit; a share may be told in per cent. Do not convert, add or \
estimate. Without findings tell no number.
- No prognosis, no outcome, no score of severity, no treatment, no advice. No age, sex, symptoms, history or time since onset.
- Slices are axial and shown as radiologists do: the patient's left is at the right of the picture, anterior is up.
- Plain text without lists or markup, in the terse style of a radiology report.
"""
SCHEMA = {
    "name": "report",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in SECTIONS},
        "required": list(SECTIONS),
        "additionalProperties": False,
    },
}
# From the strictest down; None: the instructions alone. llama.cpp's relatives know no schema, LM Studio no `json_object`.
FORMATS = ({"type": "json_schema", "json_schema": SCHEMA}, {"type": "json_object"}, None)


def digest(text: str) -> str:
    """Of instructions, as a report's provenance names them."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_json(findings: Findings | None) -> str:
    """The findings as a model reads them; `null` without."""
    return json.dumps(findings and to_json(findings), ensure_ascii=False)


def messages(prompt: str, seen: Seen) -> list[dict]:
    """Those that ask for a report. The word JSON is in them whatever the prompt: hosted servers insist on it."""
    told = f"Findings, as JSON:\n{as_json(seen.findings)}" if seen.findings else "There are no findings. Answer as JSON."
    if not seen.slices:
        content = told
    else:
        pictures = (base64.b64encode(png).decode() for png in seen.slices)
        images = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}} for picture in pictures]
        content = [{"type": "text", "text": told}, *images]
    return [{"role": "system", "content": prompt}, {"role": "user", "content": content}]


def mended(asked: list[dict], answer: str, problem: str) -> list[dict]:
    """The messages once more, with the answer that was refused and why: at temperature 0 the same question has the same answer."""
    remark = f"This is refused: {problem}. Answer again, with the whole JSON object and nothing around it."
    return [*asked, {"role": "assistant", "content": answer}, {"role": "user", "content": remark}]
