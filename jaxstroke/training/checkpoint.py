"""Checkpoints: one rolling one for all live runs, and one for each finished run, parameters only. Orbax writes both atomically."""

import json
import logging

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

logger = logging.getLogger("jaxstroke")


class Rolling:
    """The last two states of all live runs with their progress, written in the background."""

    def __init__(self, folder: epath.Path):
        options = ocp.CheckpointManagerOptions(preservation_policy=policies.LatestN(2), enable_async_checkpointing=True)
        self.manager = ocp.CheckpointManager(folder, options=options)

    def save(self, chunk: int, state, progress: dict):
        """state: arrays with a leading run axis. progress: plain json."""
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress))
        self.manager.save(chunk, args=items, force=True)

    def restore(self, like) -> tuple[int, dict, dict] | None:
        """(chunk, state, progress) of the newest checkpoint that can be read, or None. like: an abstract state with shardings."""
        for chunk in sorted(self.manager.all_steps(), reverse=True):
            items = ocp.args.Composite(state=ocp.args.StandardRestore(like), progress=ocp.args.JsonRestore())
            try:
                found = self.manager.restore(chunk, args=items)
            except (ValueError, OSError, KeyError, json.JSONDecodeError) as error:
                logger.warning("checkpoint %d cannot be read (%s); trying the one before", chunk, str(error).splitlines()[0][:200])
                self.manager.delete(chunk)
                continue
            return chunk, found.state, found.progress
        return None

    def close(self):
        self.manager.wait_until_finished()
        self.manager.close()


class Finished:
    """The best variables of every finished run, under `runs/<id>`."""

    def __init__(self, folder: epath.Path):
        self.folder = folder
        self.checkpointer = ocp.StandardCheckpointer()

    def save(self, run_id: str, variables):
        self.checkpointer.save(self.folder / run_id, jax.tree.map(np.asarray, variables), force=True)
        self.checkpointer.wait_until_finished()

    def load(self, run_id: str, like):
        """Variables as numpy arrays. like: abstract ones of one run, without shardings."""
        return jax.tree.map(np.asarray, self.checkpointer.restore(self.folder / run_id, like))

    def close(self):
        self.checkpointer.close()
