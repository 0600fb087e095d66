"""What a run leaves to read: `metrics.jsonl`, one line an epoch, and TensorBoard scalars."""

import json
import logging

from etils import epath
from tensorboardX import SummaryWriter

from jaxstroke import hosts

logger = logging.getLogger("jaxstroke")


class Log:
    """Appends epoch lines; on a restore, lines that lie after the restored chunk are cut. Of several processes the first writes."""

    def __init__(self, workdir: epath.Path, restored: int):
        self.path, self.board = workdir / "metrics.jsonl", None
        if not hosts.first():
            return
        kept = [line for line in self.lines() if json.loads(line)["chunk"] <= restored]
        temporary = workdir / ".metrics.jsonl.partial"
        temporary.write_text("".join(f"{line}\n" for line in kept))
        temporary.replace(self.path)
        if (workdir / "tensorboard").exists():
            (workdir / "tensorboard").rmtree()  # written again from the kept lines: a curve must not double after a kill
        self.board = SummaryWriter(str(workdir / "tensorboard"))
        for line in kept:
            self.draw(json.loads(line))

    def lines(self) -> list[str]:
        """Whole lines only: the last one may be half written after a kill."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().decode(errors="replace").splitlines()
        broken = sum(not is_whole(line) for line in lines[:-1])
        if broken:
            logger.warning("%d lines of %s are damaged and left out: learning curves lack these epochs", broken, self.path)
        return [line for line in lines if is_whole(line)]

    def write(self, line: dict):
        if self.board is None:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.draw(line)

    def draw(self, line: dict):
        """A line's losses as TensorBoard scalars."""
        for kind in ("train_loss", "val_loss"):
            for part, value in line[kind].items():
                self.board.add_scalar(f"{line['run']}/{kind}/{part}", value, line["epoch"])

    def close(self):
        if self.board is not None:
            self.board.close()


def is_whole(line: str) -> bool:
    """Whether a line is as `progress.epoch_line` wrote it."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return False
    losses = [values.get(kind) for kind in ("train_loss", "val_loss")] if isinstance(values, dict) else [None]
    return (
        all(isinstance(one, dict) and all(isinstance(value, int | float) for value in one.values()) for one in losses)
        and isinstance(values.get("run"), str)
        and all(isinstance(values.get(name), int) for name in ("chunk", "epoch"))
    )
