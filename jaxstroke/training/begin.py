"""Where a run's variables come from when it begins, if not from chance."""

import dataclasses
from dataclasses import dataclass

import jax

from jaxstroke.errors import InputError
from jaxstroke.training import adapt, subtrees

NAMED = 6  # tensors named in a message
CURES = {  # by the subtree that is begun from a file, "" = the whole network
    "": "The tasks in config.loss must be those of the weights, with as many cut-offs; a clinical network must see as many columns",
    "bert": "The sizes in config.text must be those of the weights",
    "encoder": "config.model.encoder must be that of the weights, config.model.norm = batch, and the image's channels theirs or 1",
}


@dataclass(frozen=True)
class Begin:
    """Variables that every run begins from. source: the file, as the config names it. digest: its sha256.

    variables: `{"params", "batch_stats"}` in numpy, float32; None where the file is gone, which does no harm once every run has begun.
    subtree: the name of the part of the network that they are of, wherever it lies and as often as it is there; the rest of a run is
    random by its own seed. "" = of the whole network. left_out: the file's tensors that nothing takes. remarks: for whoever trains.
    key: of the config, that names the file.
    """

    source: str
    digest: str
    variables: dict | None
    subtree: str = ""
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    key: str = "model.init_from"

    def choose(self, todo, units, transductive: bool) -> "Begin":
        """The same for every run."""
        return self

    @property
    def gone(self) -> bool:
        """Whether the file is no longer there."""
        return self.variables is None

    @property
    def warning(self) -> str:
        """What whoever trains must make sure of."""
        what = f"the {self.subtree} of every run" if self.subtree else "every run"
        return f"{what} begins from {self.source}: it must not have been trained on patients of this cohort"

    def ready(self, run=None) -> dict:
        """The variables, or InputError where the file is gone."""
        if self.variables is None:
            raise InputError(f"config.{self.key} = {self.source} is gone, and a run has not begun: put the file back")
        return self.variables

    def onto(self, like: dict) -> "Begin":
        """The same with its variables where the network has them; InputError naming the tensors that are not those of the network.

        like: the network's abstract `{"params", "batch_stats"}`.
        """
        if self.variables is None:
            return self
        if not self.subtree:
            self.check(self.variables, like)
            return self
        places = subtrees.places(like["params"], self.subtree)
        if not places:
            raise InputError(f"config.{self.key} = {self.source} is of an {self.subtree}, and the network has none")
        found, remarks = {"params": {}, "batch_stats": {}}, list(self.remarks)
        for place in places:
            wanted = {kind: subtrees.at(like[kind], place) for kind in found}
            variables, more = adapt.adapted(self.variables, wanted)
            remarks += [remark for remark in more if remark not in remarks]
            self.check(variables, wanted, place)
            for kind, tree in found.items():
                subtrees.put(tree, place, variables[kind])
        return dataclasses.replace(self, variables=found, remarks=tuple(remarks))

    def check(self, variables: dict, like: dict, place: tuple[str, ...] = ()):
        """Raise InputError naming the tensors that are not those wanted at a place in the network."""
        found, wanted = shapes(variables, place), shapes(like, place)
        wrong = [f"{name} is missing" for name in wanted.keys() - found.keys()]
        wrong += [f"{name} is not in the network" for name in found.keys() - wanted.keys()]
        both = found.keys() & wanted.keys()
        wrong += [f"{name} is {found[name]}, in the network {wanted[name]}" for name in both if found[name] != wanted[name]]
        if wrong:
            more = f", and {len(wrong) - NAMED} more" * (len(wrong) > NAMED)
            raise InputError(
                f"config.{self.key} = {self.source} does not fit the network: {'; '.join(sorted(wrong)[:NAMED])}{more}. "
                f"{CURES[self.subtree]}"
            )

    def told(self, placed: "Begin") -> dict:
        """What `run.json` says of it, as json. placed: what `onto` gave."""
        tensors = len(jax.tree.leaves(self.ready()))
        return {
            "file": self.source, "sha256": self.digest, "part": self.subtree or "network", "tensors": tensors,
            "left_out": list(self.left_out), "remarks": list(placed.remarks),
        }  # fmt: skip


def shapes(variables: dict, place: tuple[str, ...] = ()) -> dict[str, tuple[int, ...]]:
    """{"heads/age/kernel": shape} over all collections; running statistics have names of their own. place: what lies above them."""
    return {
        "/".join((*place, *(str(key.key) for key in path[1:]))): leaf.shape
        for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]
    }
