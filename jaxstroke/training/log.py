"""What a run leaves to read: `metrics.jsonl`, one line an epoch, and TensorBoard scalars."""

import json

from etils import epath
from tensorboardX import SummaryWriter


class Log:
    """Appends epoch lines; on a restore, lines that lie after the restored chunk are cut."""

    def __init__(self, workdir: epath.Path, restored: int):
        self.path = workdir / "metrics.jsonl"
        kept = [line for line in self.lines() if json.loads(line)["chunk"] <= restored]
        self.path.write_text("".join(f"{line}\n" for line in kept))
        self.board = SummaryWriter(str(workdir / "tensorboard"), purge_step=None)

    def lines(self) -> list[str]:
        """Whole lines only: the last one may be half written after a kill."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text().splitlines():
            try:
                json.loads(line)
            except json.JSONDecodeError:
                continue
            found.append(line)
        return found

    def write(self, line: dict):
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for kind in ("train_loss", "val_loss"):
            for part, value in line[kind].items():
                self.board.add_scalar(f"{line['run']}/{kind}/{part}", value, line["epoch"])

    def close(self):
        self.board.close()
