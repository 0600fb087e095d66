"""Checkpoints: one rolling one for all live runs, and one for each finished run, parameters only. Orbax writes both atomically."""

import json
import logging

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from jaxstroke import hosts
from jaxstroke.errors import InputError

logger = logging.getLogger("jaxstroke")


def alone() -> ocp.options.MultiprocessingOptions:
    """That orbax is called in process 0 only, which does not wait for the others."""
    return ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0} if hosts.count() > 1 else None)


class Rolling:
    """The last two states of all live runs with their progress, written in the background, by process 0."""

    def __init__(self, folder: epath.Path):
        self.manager = None
        if hosts.first():
            folder.mkdir(parents=True, exist_ok=True)
            options = ocp.CheckpointManagerOptions(
                preservation_policy=policies.LatestN(2), enable_async_checkpointing=True, create=False, multiprocessing_options=alone()
            )
            self.manager = ocp.CheckpointManager(folder, options=options)

    def save(self, state, progress: dict):
        """state: arrays with a leading run axis. progress: plain json. Checkpoints are numbered as they come."""
        if hosts.count() > 1:
            state = hosts.fetch(state)
        if self.manager is None:
            return
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress))
        self.manager.save((self.manager.latest_step() or 0) + 1, args=items, force=True)

    def restore(self, like, slots: int) -> tuple[dict, dict] | None:
        """(state, progress) of the newest checkpoint that can be read, or None where there is none.

        like: an abstract state with shardings. slots: runs trained at once. Nothing is deleted: where no checkpoint can be read, or it was
        written with other slots, an InputError says so.
        """
        if hosts.count() == 1:
            return self.read(like, slots)
        return self.read_for_all(like, slots)

    def read_for_all(self, like, slots: int) -> tuple[dict, dict] | None:
        """What process 0 reads, in every process."""
        plain = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
        state, said = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), plain), {"progress": None, "problem": ""}
        if self.manager is not None:
            try:
                found = self.read(plain, slots)
            except InputError as error:
                found, said["problem"] = None, str(error)
            if found is not None:
                state, said["progress"] = jax.tree.map(np.asarray, found[0]), found[1]
        said = json.loads(hosts.text_from_first(json.dumps(said)))
        if said["problem"]:
            raise InputError(said["problem"])
        if said["progress"] is None:
            return None
        state = hosts.from_first(state)
        return jax.tree.map(lambda x, one: hosts.put(x, one.sharding), state, like), said["progress"]

    def read(self, like, slots: int) -> tuple[dict, dict] | None:
        """As `restore`, in this process."""
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
        if self.manager is not None:
            self.manager.wait_until_finished()
            self.manager.close()


class Finished:
    """The best variables of every finished run, a folder each, written and read by process 0."""

    def __init__(self, folder: epath.Path):
        self.folder = folder
        self.checkpointer = ocp.StandardCheckpointer(multiprocessing_options=alone()) if hosts.first() else None

    def save(self, run_id: str, variables):
        if self.checkpointer is None:
            return
        self.checkpointer.save(self.folder / run_id, jax.tree.map(np.asarray, variables), force=True)
        self.checkpointer.wait_until_finished()

    def load(self, run_id: str, like):
        """Variables as numpy arrays. like: abstract ones of one run, without shardings."""
        if self.checkpointer is None:
            return hosts.from_first(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like))
        return hosts.from_first(jax.tree.map(np.asarray, self.checkpointer.restore(self.folder / run_id, like)))

    def close(self):
        if self.checkpointer is not None:
            self.checkpointer.close()
