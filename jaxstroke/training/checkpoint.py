"""Checkpoints: one rolling one for all live runs, and one for each finished run, parameters only. Orbax writes both atomically."""

import logging

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from jaxstroke.errors import InputError

logger = logging.getLogger("jaxstroke")


class Rolling:
    """The last two states of all live runs with their progress, written in the background."""

    def __init__(self, folder: epath.Path):
        options = ocp.CheckpointManagerOptions(preservation_policy=policies.LatestN(2), enable_async_checkpointing=True)
        self.manager = ocp.CheckpointManager(folder, options=options)

    def save(self, state, progress: dict):
        """state: arrays with a leading run axis. progress: plain json. Checkpoints are numbered as they come."""
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress))
        self.manager.save((self.manager.latest_step() or 0) + 1, args=items, force=True)

    def restore(self, like, slots: int) -> tuple[dict, dict] | None:
        """(state, progress) of the newest checkpoint that can be read, or None where there is none.

        like: an abstract state with shardings. slots: runs trained at once. Nothing is deleted: where no checkpoint can be read, or it was
        written with other slots, an InputError says so.
        """
        found = sorted(self.manager.all_steps(), reverse=True)
        for number in found:
            try:
                progress = self.manager.restore(number, args=ocp.args.Composite(progress=ocp.args.JsonRestore())).progress
                if len(progress["slots"]) != slots:
                    raise InputError(f"this run was begun with config.device.run = {len(progress['slots'])}, now {slots}: use the same")
                restored = self.manager.restore(number, args=ocp.args.Composite(state=ocp.args.StandardRestore(like)))
            except (ValueError, OSError, KeyError, TypeError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                logger.warning("checkpoint %d cannot be read (%s); trying the one before", number, reason[:200])
                continue
            return restored.state, progress
        if found:
            raise InputError(f"no checkpoint in {self.manager.directory} can be read: restore the folder, or use a new --workdir")
        return None

    def close(self):
        self.manager.wait_until_finished()
        self.manager.close()


class Finished:
    """The best variables of every finished run, a folder each."""

    def __init__(self, folder: epath.Path):
        self.folder = folder
        self.checkpointer = ocp.StandardCheckpointer()

    def save(self, run_id: str, variables):
        self.checkpointer.save(self.folder / run_id, jax.tree.map(np.asarray, variables), force=True)
        self.checkpointer.wait_until_finished()

    def load(self, run_id: str, like):
        """Variables as numpy arrays. like: abstract ones of one run, without shardings. InputError where they cannot be read as such."""
        try:
            return jax.tree.map(np.asarray, self.checkpointer.restore(self.folder / run_id, like))
        except Exception as error:  # of orbax, of what it reads with, or of the json files between
            reason = (str(error).splitlines() or [""])[0][:200]
            raise InputError(
                f"{self.folder / run_id} cannot be read ({type(error).__name__}: {reason}): it is damaged, or of another version of "
                "jaxstroke. Restore the folder, or train again in a new --workdir"
            ) from None

    def close(self):
        self.checkpointer.close()
