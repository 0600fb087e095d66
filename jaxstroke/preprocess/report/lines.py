"""`reports.jsonl`: a line a unit, with its report or why it has none, what wrote it from what, and what its mask shows."""

import dataclasses
import json

from etils import epath

from jaxstroke import workdir as work
from jaxstroke.preprocess import records

FILE = "reports.jsonl"


@dataclasses.dataclass(frozen=True)
class Places:
    """Where reports belong. workdir: of the run, whose atlas, vocabulary and instructions are kept; folder: of the file, the workdir itself
    or that of new patients; records: the root of records, beside which answers lie."""

    workdir: epath.Path
    folder: epath.Path
    records: epath.Path

    @property
    def own(self) -> bool:
        """Whether the patients are those of the run."""
        return self.folder == self.workdir

    @property
    def begun(self) -> bool:
        """Whether networks may have seen what is kept: it then stays, whatever the config's paths lead to by now."""
        return work.read(self.workdir) is not None


def line(text: str, failure: str, provenance: dict) -> dict:
    """What is said of a unit, less what is found in its mask."""
    return {"text": text, "failure": failure, "provenance": provenance}


def read(folder) -> dict[str, dict]:
    """Unit -> its line, {} where there is no file; a line that is cut off or damaged is as if it were not there."""
    path, found = epath.Path(folder) / FILE, {}
    for text in path.read_bytes().decode(errors="replace").splitlines() if path.exists() else ():
        try:
            one = json.loads(text)
            unit = one.pop("unit")
            if isinstance(unit, str) and isinstance(one["text"], str) and isinstance(one["failure"], str):
                found[unit] = one
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
    return found


def write(folder, lines: dict[str, dict]):
    """Whole or not at all."""
    records.write_text(epath.Path(folder) / FILE, "".join(json.dumps({"unit": unit} | one) + "\n" for unit, one in lines.items()))


def share(source, target):
    """The lines of a study into a variant's folder: there they stand as they are, those without a report too, so that all variants read
    the same."""
    found = read(source)
    if found and not (epath.Path(target) / FILE).exists():
        write(target, {unit: one | {"settled": True} for unit, one in found.items()})
