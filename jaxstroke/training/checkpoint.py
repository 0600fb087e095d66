"""Checkpoints: one rolling one for all live runs, and one for each finished run, parameters only. Orbax writes both atomically.

Both hold a checksum of their arrays: a bit that a disk has lost is else read as another weight, without an error.
"""

import json
import logging
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from jaxstroke import hosts
from jaxstroke.errors import InputError

logger = logging.getLogger("jaxstroke")
FORM = 1  # of a checkpoint's progress: raise it when other values are written
CHANGED = "its arrays are not those that were written"


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
        progress = json.loads(json.dumps({"form": FORM} | progress))  # as it will be read: tuples as lists
        progress["checksum"] = checksum(state, progress)
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
                written = progress.pop("checksum")
                if progress["form"] != FORM:
                    raise ValueError("it is of another version of jaxstroke")
                if len(progress["slots"]) != slots:
                    raise InputError(f"this run was begun with config.device.run = {len(progress['slots'])}, now {slots}: use the same")
                restored = self.manager.restore(number, args=ocp.args.Composite(state=ocp.args.StandardRestore(like)))
                if checksum(restored.state, progress) != written:
                    raise ValueError(CHANGED)
            except InputError:
                raise
            except Exception as error:  # of orbax, of what it reads with, or of the json files between
                logger.warning("checkpoint %d cannot be read (%s); trying the one before", number, reason_of(error))
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
        variables = jax.tree.map(np.asarray, variables)
        self.checkpointer.save(self.folder / run_id, {"variables": variables, "checksum": np.uint32(checksum(variables))}, force=True)
        self.checkpointer.wait_until_finished()

    def load(self, run_id: str, like):
        """Variables as numpy arrays. like: abstract ones of one run, without shardings. InputError where they cannot be read as such."""
        found, problem = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like), ""
        if self.checkpointer is not None:
            try:
                found = self.read(run_id, like)
            except InputError as error:
                problem = str(error)
        problem = hosts.text_from_first(problem)  # the other processes must not wait for one that has given up
        if problem:
            raise InputError(problem)
        return hosts.from_first(found)

    def read(self, run_id: str, like):
        """As `load`, in this process."""
        try:
            found = self.checkpointer.restore(self.folder / run_id, {"variables": like, "checksum": jax.ShapeDtypeStruct((), np.uint32)})
            variables = jax.tree.map(np.asarray, found["variables"])
            if checksum(variables) != int(found["checksum"]):
                raise ValueError(CHANGED)
        except Exception as error:  # of orbax, of what it reads with, or of the json files between
            raise InputError(
                f"{self.folder / run_id} cannot be read ({reason_of(error)}): it is damaged, or of another version of jaxstroke. Restore "
                "the folder, or train again in a new --workdir"
            ) from None
        return variables

    def shapes(self, run_id: str):
        """The abstract variables of a run as they were written, for `read`; InputError where the folder says nothing of them."""
        try:
            written = self.checkpointer.metadata(self.folder / run_id).item_metadata.tree["variables"]
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), written)
        except Exception as error:  # of orbax, or of the json files between
            raise InputError(f"{self.folder / run_id} cannot be read ({reason_of(error)}): restore it, or train again") from None

    def close(self):
        if self.checkpointer is not None:
            self.checkpointer.close()


def checksum(tree, progress: dict | None = None) -> int:
    """CRC-32 of the arrays of a tree, in order, and of json values."""
    found = zlib.crc32(json.dumps(progress, sort_keys=True).encode())
    for leaf in jax.tree.leaves(tree):
        found = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).reshape(-1), found)
    return found


def reason_of(error: Exception) -> str:
    """An error's name and first line, cut short."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]
