"""The training step, the forward pass and their state: pure functions of one run, mapped over the mesh.

Every array of a state carries a leading `run` axis, sharded over the mesh's axis of that name. The mean over rows is taken with psum
inside the differentiated loss: shard_map then returns gradients already summed over `data`, and averaging them again would be wrong.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxstroke import compilations, hosts
from jaxstroke import config as settings
from jaxstroke.training import alignment, contrastive, losses, optimizer, published, rates, subtrees

RUN, ROWS = P("run"), P("run", None, "data")


def make_initial(model, transform, example: dict, fitted: dict, schedule: str = "constant"):
    """A jitted `initial(seed, begin=None) -> state` of one run, without the run axis. example, fitted: of one run, any number of rows.

    begin: variables to begin from, all or part of the network's; the others are random ones of the seed.
    The state: `params`, `stats` (running statistics, {} without), `opt`, `step`, `best` (params and stats of every part's best epoch),
    and with that schedule `plateau`.
    """

    @functools.partial(jax.jit, compiler_options=compilations.quickly())
    def initial(seed, begin=None):
        variables = subtrees.replaced(model.init(jax.random.key(seed), example, fitted, train=False), begin or {})
        params, stats = variables["params"], variables.get("batch_stats", {})
        best = jax.tree.map(jnp.copy, {"params": params, "stats": stats})
        state = {"params": params, "stats": stats, "opt": transform.init(params), "step": jnp.zeros((), jnp.int32), "best": best}
        return state | ({"plateau": optimizer.plateau_start()} if schedule == "plateau" else {})

    return initial


def make_train_step(model, transform, mesh, config):
    """A jitted `step(state, fitted, batch) -> state, terms`; the state is donated.

    batch: of `feed`, leading axes `run accumulation b`. terms: {"<part>/<task>": (numerator, denominator)}, each `run`.
    A step without a valid row leaves the whole state as it was.
    """

    def one_run(state, fitted, batch):
        objective = make_objective(model, state, fitted, batch, config)
        gradients, stats, sums = accumulated(objective, rates.learning(state["params"], config.optimizer), state["stats"], batch)

        def updated(old):
            directions, opt = transform.update(gradients, old["opt"], old["params"])
            rate = optimizer.schedule(config.optimizer, old["step"], fitted["total_steps"])
            new = {"stats": stats, "opt": opt, "step": old["step"] + 1}
            if "plateau" in old:
                rate = rate * old["plateau"]["scale"]
                new["plateau"] = published.plateau(config, old["plateau"], sums)
            moved = jax.tree.map(lambda p, d: p - rate * d, rates.learning(old["params"], config.optimizer), directions)
            return new | {"params": subtrees.replaced(old["params"], moved)}

        any_valid = jax.lax.psum(batch["weight"].sum(), "data") > 0
        moving = {name: part for name, part in state.items() if name != "best"}
        return {"best": state["best"]} | only_if(any_valid, updated, moving), sums

    return mapped(one_run, mesh, in_specs=(RUN, RUN, ROWS), out_specs=RUN, donate=0)


def only_if(condition, function, state):
    """`function(state)` where the condition holds, else the state.

    A branch on CPU: with a choice per element XLA copies the whole donated state first, nearly half of a step with 33 M parameters.
    A choice elsewhere: a branch would make the host wait for the device.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.cond(condition, function, lambda old: old, state)
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old), function(state), state)


def make_objective(model, state, fitted, batch, config):
    """`objective(params, stats, micro) -> loss, (stats, sums)` of one run: a micro-batch's share of the loss of the whole `batch`.

    params: all of the state's or those that are learned; the others are the state's. sums: {"<part>/<task>": (numerator, denominator)}
    over all devices. Inside shard_map only.
    """
    terms = terms_of(config)
    # A single micro-batch counts its own denominators.
    own = batch["weight"].shape[0] == 1 or config.train.as_published
    totals = None if own else micro_totals(model, state, fitted, batch, terms)

    def objective(params, stats, micro):
        variables = {"params": subtrees.replaced(state["params"], params)} | ({"batch_stats": stats} if stats else {})
        outputs, new = model.apply(variables, micro, fitted, train=True, mutable=["batch_stats"])
        sums = jax.lax.psum(terms(outputs, micro, fitted), "data")
        counted = totals or {name: published.share(config) * denominator for name, (_, denominator) in sums.items()}
        loss = sum(losses.ratio(numerator, counted[name]) for name, (numerator, _) in sums.items())
        return loss, (new.get("batch_stats", {}), sums)

    return objective


def terms_of(config) -> losses.Terms:
    """What is minimised: the tasks' losses, with those that align modalities where there are any; in pre-training the contrast of views."""
    aligned = config.model.name == settings.ALIGNED and alignment.wanted(config)
    return (alignment if aligned else judged_by(config)).make_terms(config)


def judged_by(config):
    """What validation patients are judged by: the tasks' losses alone, or in pre-training the contrast of views."""
    return contrastive if settings.pretrains_alone(config) else losses


def micro_totals(model, state, fitted, batch, terms) -> dict[str, jax.Array]:
    """The denominator of every term over all micro-batches and devices, known from masks alone, before any gradient."""

    rows = jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), batch)
    found = terms(evaluated(model, state, fitted, rows), rows, fitted)
    return jax.lax.psum({name: denominator for name, (_, denominator) in found.items()}, "data")


def evaluated(model, state, fitted, micro) -> dict:
    """What the network gives for a micro-batch in evaluation mode. Of what a caller does not use, the compiler drops the computation."""
    return model.apply(collections(state), micro, fitted, train=False)


def collections(state) -> dict:
    """The variables of a state, or of what a workdir keeps, as Flax wants them."""
    return {"params": state["params"]} | ({"batch_stats": state["stats"]} if state["stats"] else {})


def accumulated(objective, params, stats, batch) -> tuple:
    """Gradients and terms added over the leading micro-batch axis; running statistics pass from one to the next."""
    gradient = jax.grad(objective, has_aux=True)
    micros = batch["weight"].shape[0]
    first, (stats, sums) = gradient(params, stats, jax.tree.map(lambda x: x[0], batch))
    if micros == 1:
        return first, stats, sums

    def more(carry, micro):
        total, stats, sums = carry
        extra, (stats, extra_sums) = gradient(params, stats, micro)
        add = functools.partial(jax.tree.map, jnp.add)
        return (add(total, extra), stats, add(sums, extra_sums)), None

    rest = jax.tree.map(lambda x: x[1:], batch)
    return jax.lax.scan(more, (first, stats, sums), rest)[0]


def make_forward(model, mesh, config):
    """A jitted `forward(variables, fitted, batch) -> outputs, sums` in evaluation mode; outputs keep their rows.

    variables: {"params", "stats"} with a leading run axis; outputs: {"logits", "parts"}, leading axes `run accumulation b`; sums: {"loss":
    terms as in `make_train_step`, and where `train.watch` asks for it "recall"}, leading axes `run accumulation`.
    """
    joint, terms = config.train.stages == "joint", judged_by(config).make_terms(config)

    def one_run(variables, fitted, batch):
        def micro(one):
            plain = evaluated(model, variables, fitted, one)
            outputs = shifted(plain, fitted)
            # Validation patients are as they come: after oversampling judged at their own prevalence, with class weights as trained.
            judged = outputs if config.train.imbalance == "oversample" else plain
            found = {"loss": terms(judged, one, fitted)}
            if config.train.watch == "balanced_accuracy":
                found["recall"] = losses.recalls(judged, one, fitted, config.loss, config.evaluate.primary, joint)
            return {"logits": outputs["logits"], "parts": outputs["parts"]}, jax.lax.psum(found, "data")

        return jax.lax.map(micro, batch)

    return mapped(one_run, mesh, in_specs=(RUN, RUN, ROWS), out_specs=(ROWS, RUN))


def shifted(outputs: dict, fitted: dict) -> dict:
    """Outputs with logits moved back to the prevalence of the training patients, where oversampling or class weights had balanced it."""

    def move(logits):
        return {task: values + fitted[f"logit_shift/{task}"] for task, values in logits.items()}

    parts = {name: part | {"logits": move(part["logits"])} for name, part in outputs["parts"].items()}
    return outputs | {"logits": move(outputs["logits"]), "parts": parts}


def make_on_plateau(mesh, config):
    """A jitted `on_plateau(state, loss, live) -> state`: the learning rate after an epoch. loss: `run`; live: `run` bool."""

    def one_run(state, loss, live):
        new = optimizer.plateau(config.optimizer, state["plateau"], loss)
        return state | {"plateau": jax.tree.map(lambda a, b: jnp.where(live, a, b), new, state["plateau"])}

    return mapped(one_run, mesh, in_specs=(RUN, RUN, RUN), out_specs=RUN, donate=0)


def make_keep_best(mesh):
    """A jitted `keep(state, improved) -> state`: parts that improved copy their parameters into `best`. improved: {part: `run` bool}.

    A part named `network` is everything.
    """

    def one_run(state, improved):
        def chosen(current, kept):
            if "network" in improved:
                return jax.tree.map(lambda a, b: jnp.where(improved["network"], a, b), current, kept)
            return {
                name: jax.tree.map(lambda a, b, name=name: jnp.where(improved[name], a, b), part, kept[name]) if name in improved else part
                for name, part in current.items()
            }

        return state | {"best": {key: chosen(state[key], state["best"][key]) for key in ("params", "stats")}}

    return mapped(one_run, mesh, in_specs=(RUN, RUN), out_specs=RUN, donate=0)


def mapped(one_run, mesh, in_specs, out_specs, donate: int | None = None):
    """jit(shard_map) of a function of one run: its arguments lose their leading run axis of local size 1 and its results get it back."""

    def local(*arguments):
        result = one_run(*jax.tree.map(lambda x: x[0], arguments))
        return jax.tree.map(lambda x: x[None], result)

    sharded = jax.shard_map(local, mesh=mesh, in_specs=in_specs, out_specs=out_specs)
    return jax.jit(sharded, donate_argnums=() if donate is None else donate)


def put(tree, mesh):
    """Host arrays with a leading run axis onto the mesh."""
    return hosts.put(jax.tree.map(np.asarray, tree), jax.NamedSharding(mesh, RUN))
