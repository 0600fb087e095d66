"""What a step costs by the compiler's own count: operations, memory traffic, memory."""

import sys

import jax
from jax.extend import core

from jaxstroke import config_json
from jaxstroke.benchmark import programs
from jaxstroke.training import mesh

PLAN = "compiler's plan: arguments + outputs + temporaries"


def operations(config, fitted: dict, batch: dict) -> float | None:
    """Floating-point operations of one step of one run, a multiplication and an addition counting two; None where XLA does not say.

    Counted before XLA optimises, of the network as it is written down: plain convolutions, no block computed twice (`model.remat`), loops
    unrolled, since XLA counts a loop's body once. So it does not depend on how a step is computed. batch, fitted: as in `programs.build`.
    """
    plain = config_json.copied(config)
    plain.device.update({"convolution": "native", "run": 1, "data": 1, "space": 1})
    plain.model.remat = False
    made = programs.build(plain, mesh.make(plain.device), fitted, batch)

    def of_one_run(tree):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), tree)

    batch = {name: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for name, x in batch.items()}
    traced = made.main.trace(of_one_run(jax.eval_shape(made.initial, 0)), of_one_run(fitted), batch).jaxpr
    flat = traced.replace(jaxpr=unrolled(traced.jaxpr))
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in flat.in_avals]
    return counted(jax.jit(core.jaxpr_as_fun(flat)).lower(*shapes), "flops")


def unrolled(jaxpr: core.Jaxpr) -> core.Jaxpr:
    """The program with every scan, at any depth, written out."""

    def inner(value):
        if isinstance(value, core.ClosedJaxpr):
            return value.replace(jaxpr=unrolled(value.jaxpr))
        if isinstance(value, core.Jaxpr):
            return unrolled(value)
        return tuple(map(inner, value)) if type(value) is tuple else value

    def whole(equation):
        params = {name: inner(value) for name, value in equation.params.items()}
        if equation.primitive.name == "scan":
            params["unroll"] = max(1, params["length"])
        return equation.replace(params=params)

    return jaxpr.replace(eqns=[whole(equation) for equation in jaxpr.eqns])


def counted(program, what: str) -> float | None:
    """An entry of a lowered or compiled program's cost analysis, None where the backend makes none."""
    found = program.cost_analysis()
    return float(found[what]) if found and what in found else None


def traffic(compiled, devices: int) -> float | None:
    """Bytes that the compiled step reads and writes, over all devices. A loop's body is counted once."""
    found = counted(compiled, "bytes accessed")
    return None if found is None else found * devices


def memory(compiled) -> tuple[float | None, str | None]:
    """(GiB of one device, where the number is from): the most that was in use so far, or what the compiler planned.

    A donated argument and the output that takes its place count once.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**30, "memory_stats of the device: peak_bytes_in_use"
    plan = compiled.memory_analysis()
    if plan is None:
        return None, None
    total = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes + plan.temp_size_in_bytes
    return total / 2**30, PLAN


def resident_memory() -> float | None:
    """GiB: the most this process held in main memory; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
