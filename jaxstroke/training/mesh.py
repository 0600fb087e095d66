"""The mesh every compiled function runs over: axes `run` (different runs), `data` (rows of a batch), `space` (size 1 until used)."""

import jax
from jax.sharding import AxisType

from jaxstroke import hosts
from jaxstroke.errors import InputError

AXES = ("run", "data", "space")


def make(device) -> jax.sharding.Mesh:
    """The mesh of `config.device`; `data` = 0 takes every device that `run` and `space` leave.

    Auto axis types: under explicit ones shard_map refuses inputs of another sharding than its specs.
    """
    available = jax.device_count()
    data = device.data or available // (device.run * device.space)
    used = device.run * data * device.space
    if not 0 < used <= available:
        raise InputError(
            f"config.device asks for run {device.run} x data {data} x space {device.space} = {used} devices; this machine has {available}"
        )
    if hosts.count() > 1 and (device.processes == 1 or used < available):
        raise InputError(
            f"this is one of {hosts.count()} processes with {available} devices: start the same command in each, with "
            "config.device.processes = 0 and all devices in use"
        )
    shape = (device.run, data, device.space)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:used])


def check_divisible(config, data: int):
    """Refuse a batch that cannot be shared evenly."""
    if config.train.batch_size % data:
        raise InputError(
            f"config.train.batch_size = {config.train.batch_size} cannot be shared by {data} devices on the axis `data`: "
            f"use a multiple of {data}, or --config.device.data="
        )
