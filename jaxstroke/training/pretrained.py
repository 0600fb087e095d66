"""Encoders that a pre-training has left in a workdir, as what runs begin from."""

import dataclasses
import json
from dataclasses import dataclass

import jax
import numpy as np
from etils import epath

from jaxstroke import hosts
from jaxstroke import workdir as work
from jaxstroke.errors import InputError, listed
from jaxstroke.training import subtrees
from jaxstroke.training.checkpoint import Finished

FOLDER, FILE, SUBTREE = "pretrain", "pretrain.json", "encoder"  # below a workdir; in that folder; in a network
NAMED = 12  # of what is listed in the log; run.json has all


@dataclass(frozen=True)
class Pretrained:
    """See `begin.Begin`, whose place it takes. like: abstract variables of its networks, which are all alike.

    seen: {id of a pre-trained network: the patients it was trained on}.
    places: {path of an encoder in the network: its path there}; chosen: {run id: id of the network that it begins from}.
    left_out, random: names of what is not taken over, and of what has nothing to begin from.
    """

    source: str
    folder: epath.Path
    digest: str
    like: dict
    seen: dict[str, frozenset[str]]
    transductive: bool
    places: dict[tuple, tuple] = dataclasses.field(default_factory=dict)
    chosen: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    random: tuple[str, ...] = ()

    @classmethod
    def read(cls, workdir: epath.Path, source: str = "") -> "Pretrained":
        """Of a workdir whose pre-training has ended. source: as `config.model.init_from` names it, "" of the run's own stage."""
        folder = workdir / FOLDER
        cure = f"pre-train there first: --workdir {workdir} with 'pretrain' in config.train.stages"
        there = hosts.decided(hosts.first() and (folder / FILE).exists())
        if not there:
            raise InputError(f"{workdir} holds no pre-training: {cure}")
        written = json.loads(hosts.text_from_first(json.dumps(work.read_json(folder / FILE, cure) if hosts.first() else {})))
        missing = [name for name in written["patients"] if not (folder / "networks" / name).exists()]
        if hosts.decided(bool(missing)):
            raise InputError(f"the pre-training in {workdir} has not ended ({len(missing)} networks are missing): {cure}")
        seen = {name: frozenset(patients) for name, patients in written["patients"].items()}
        return cls(source, folder, work.digest(written), nested(written["tensors"]), seen, written["transductive"])

    def choose(self, todo, units, transductive: bool) -> "Pretrained":
        """With a network for every run: that of its fold, or any other that has not seen a patient whom the run is judged on.

        InputError where there is none, unless both pre-trainings may have seen them (`pretrain.transductive`).
        """
        chosen = {}
        for run in todo:
            judged = {units[row].patient for rows in (run.val, run.held) for row in rows}
            first = f"r{run.repeat}-f{run.fold}-"
            order = sorted(self.seen, key=lambda name, first=first: not name.startswith(first))
            fitting = [name for name in order if transductive or not judged & self.seen[name]]
            if not fitting:
                known = sorted(judged & self.seen[order[0]])
                raise InputError(
                    f"config.model.init_from = {self.source}: its pre-training has seen {len(known)} of the patients on whom run {run.id} "
                    f"is judged (first: {known[0]}). Pre-train in the same workdir (config.train.stages = ('pretrain', 'finetune')), leave "
                    "them out there, or, where the ids are of other people or you mean it, set config.pretrain.transductive = True"
                )
            chosen[run.id] = fitting[0]
        return dataclasses.replace(self, chosen=chosen)

    def onto(self, like: dict) -> "Pretrained":
        """With the places of its encoders in a network; InputError where one is missing, or of another shape.

        like: the network's abstract `{"params", "batch_stats"}`.
        """
        theirs = self.like
        own, there = subtrees.places(like["params"], SUBTREE), subtrees.places(theirs["params"], SUBTREE)
        alone = len(own) == len(there) == 1
        places = {path: there[0] if alone else path for path in own}
        for path, source in places.items():
            if source not in there:
                names = ", ".join("/".join(one[:-1]) for one in there)
                raise InputError(f"the pre-training in {self.folder.parent} has no encoder of '{path[0]}': it has {names}")
            self.check(path, source, like, theirs)
        mine, taken = leaves(like, places), leaves(theirs, places.values())
        left_out = tuple(name for name in leaves(theirs) if name not in taken)
        return dataclasses.replace(self, places=places, left_out=left_out, random=tuple(name for name in leaves(like) if name not in mine))

    def check(self, path: tuple, source: tuple, like: dict, theirs: dict):
        """Raise InputError naming tensors of an encoder that are not those of the network's."""
        for kind in ("params", "batch_stats"):
            wanted, found = (
                leaves({kind: subtrees.at(tree[kind], place)}) for tree, place in ((like, path), (theirs, source))
            )
            wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            if wrong:
                raise InputError(
                    f"the encoder '{'/'.join(source)}' pre-trained in {self.folder.parent} is not that of this network: {wrong[0]} is "
                    f"{found.get(wrong[0], 'missing')}, here {wanted.get(wrong[0], 'missing')}. config.model.encoder, .widths, .norm, "
                    ".pool and the image's channels must be the same"
                )

    gone = False  # it has been read

    @property
    def warning(self) -> str:
        """What whoever trains must know."""
        return "the pre-training may have seen the patients on whom the networks are judged" * self.transductive

    def ready(self, run) -> dict:
        """The encoders that a run begins from: `{"params", "batch_stats"}`, part of the network's."""
        finished = Finished(self.folder / "networks")
        read = finished.load(self.chosen[run.id], {"params": self.like["params"], "stats": self.like["batch_stats"]})
        finished.close()
        whole = {"params": read["params"], "batch_stats": read["stats"]}
        found = {"params": {}, "batch_stats": {}}
        for path, source in self.places.items():
            for kind, tree in found.items():
                part = subtrees.at(whole[kind], source)
                if part:
                    subtrees.put(tree, path, part)
        return found

    @property
    def remarks(self) -> tuple[str, ...]:
        """For whoever trains: what is taken over, and every name that has no counterpart, the first of them here."""
        where = self.source or "this run's own pre-training"
        taken = ["/".join(path) for path in self.places]
        said = ((f"from {where}", taken), ("not taken over", self.left_out), ("begins at random", self.random))
        return tuple(f"{what}: {listed(names, NAMED) or 'nothing'}" for what, names in said)

    def told(self, placed: "Pretrained") -> dict:
        """What `run.json` says of it, as json. placed: what `onto` gave."""
        return {
            "file": self.source, "sha256": self.digest, "part": SUBTREE, "transductive": self.transductive,
            "taken": {"/".join(path): "/".join(source) for path, source in placed.places.items()},
            "left_out": list(placed.left_out), "random": list(placed.random), "remarks": list(placed.remarks), "networks": self.chosen,
        }  # fmt: skip


def leaves(tree: dict, places=None) -> dict[str, tuple[int, ...]]:
    """{"params/oct/encoder/...": shape}, of everything, or of the subtrees at these places alone."""
    prefixes = None if places is None else ["/".join(path) + "/" for path in places]
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        names = [str(part.key) for part in path]
        inside = "/".join(names[1:])
        if prefixes is None or any(inside.startswith(prefix) for prefix in prefixes):
            found["/".join(names)] = tuple(leaf.shape)
    return found


def nested(shapes: dict[str, tuple[int, ...]]) -> dict:
    """The tree of abstract float32 arrays whose `leaves` these are."""
    found: dict = {"params": {}, "batch_stats": {}}
    for name, shape in shapes.items():
        *above, last = name.split("/")
        place = found
        for part in above:
            place = place.setdefault(part, {})
        place[last] = jax.ShapeDtypeStruct(tuple(shape), np.float32)
    return found
