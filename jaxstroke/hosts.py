"""Several processes, one a host, that train together: what they must agree on, and how an array that lies on all of them is read.

Every process runs the same program on the same files, in the same order; process 0 alone writes results. With one process nothing here does
anything. JAX is imported where it is used: the report is made without it.
"""

import logging

import numpy as np

from jaxstroke.errors import InputError

LONGEST = 7 * 24 * 3600  # seconds that one process may prepare while the others wait


def begin(device):
    """Find the other processes of `config.device`, before anything else asks JAX for a device."""
    if device.processes == 1:
        return
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is the program's own
    logging.getLogger("jax._src.distributed").setLevel(logging.WARNING)
    named = {"num_processes": device.processes or None, "process_id": device.process if device.coordinator else None}
    try:
        jax.distributed.initialize(device.coordinator or None, **named)
    except (ValueError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"config.device.processes = {device.processes}: the other processes are not found ({reason}). Start the same command on every "
            "host; where no cluster tells them of each other, with config.device.coordinator and config.device.process"
        ) from None


def count() -> int:
    import jax

    return jax.process_count()


def first() -> bool:
    """Whether this process is the one that writes results."""
    import jax

    return jax.process_index() == 0


def gathered(value) -> np.ndarray:
    """`processes ...`: a number, or an array of one shape, of every process."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(value)))


def decided(choice: bool) -> bool:
    """What process 0 chooses: clocks differ."""
    return choice if count() == 1 else bool(gathered(choice)[0])


def anywhere(flag: bool) -> bool:
    """Whether it is so in any process."""
    return flag if count() == 1 else bool(gathered(flag).any())


def everywhere(flag: bool) -> bool:
    """Whether it is so in every process."""
    return not anywhere(not flag)


class Together:
    """A function that says whether to stop, for all processes at once; only every so many calls, as asking makes the devices wait."""

    def __init__(self, stop, every: int = 16):
        self.stop, self.every, self.calls, self.asked = stop, every, 0, False

    def __call__(self) -> bool:
        if count() == 1:
            return self.stop()
        if self.calls % self.every == 0:
            self.asked = anywhere(self.stop())
        self.calls += 1
        return self.asked


def in_turn(act):
    """`act()` in one process after the other, since they may share a disk: what the first has made the others find.

    Where it is an InputError in one process, it is one in all.
    """
    if count() == 1:
        return act()
    import jax
    from orbax.checkpoint import multihost

    result = problem = None
    for turn in range(count()):
        if turn == jax.process_index():
            try:
                result = act()
            except InputError as error:
                problem = error
        multihost.get_barrier_sync_fn()(key="jaxstroke_turn", timeout_ms=LONGEST * 1000)
        if anywhere(problem is not None):
            raise problem or InputError(f"process {turn} of {count()} cannot go on; it says why")
    return result


def check_same(what: dict[str, str]):
    """Refuse to go on where a digest differs between processes. what: name -> hexadecimal digest."""
    if count() == 1:
        return
    for name, digest in sorted(what.items()):
        found = gathered(np.frombuffer(digest[:16].encode().ljust(16), np.uint8))
        if (found != found[0]).any():
            raise InputError(f"the processes see other data ({name}): give every host the same table, files and splits.json")


def from_first(tree):
    """A tree of numpy arrays as process 0 has it. The others give one of the same shapes and types."""
    if count() == 1:
        return tree
    import jax
    from jax.experimental import multihost_utils

    def shared(x):  # as bytes: the sum that brings a float over loses the sign of a zero
        x = np.asarray(x)
        found = multihost_utils.broadcast_one_to_all(x.reshape(-1).view(np.uint8))
        return np.asarray(found).view(x.dtype).reshape(x.shape)

    return jax.tree.map(shared, tree)


def text_from_first(text: str) -> str:
    """A text as process 0 has it."""
    if count() == 1:
        return text
    size = int(gathered(len(text.encode()))[0])
    data = text.encode() if first() else bytes(size)
    return from_first(np.frombuffer(data, np.uint8)).tobytes().decode()


def fetch(tree):
    """Arrays of the mesh as numpy arrays, whole in every process."""
    import jax
    from jax.experimental import multihost_utils

    if count() == 1:
        return jax.device_get(tree)

    def whole(x):
        known = not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated
        return np.asarray(x) if known else np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(whole, tree)


def put(tree, sharding):
    """Numpy arrays, whole in every process, onto the mesh."""
    import jax

    if count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_callback(np.shape(x), sharding, lambda index: np.asarray(x)[index]), tree)
