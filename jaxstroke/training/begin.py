"""Where a run's variables come from when it begins, if not from chance."""

from dataclasses import dataclass

import jax

from jaxstroke.errors import InputError

NAMED = 6  # tensors named in a message


@dataclass(frozen=True)
class Begin:
    """Variables that every run begins from. source: the file, as `config.model.init_from` names it. digest: its sha256.

    variables: `{"params", "batch_stats"}` in numpy, float32; None where the file is gone, which does no harm once every run has begun.
    """

    source: str
    digest: str
    variables: dict | None

    def ready(self) -> dict:
        """The variables, or InputError where the file is gone."""
        if self.variables is None:
            raise InputError(f"config.model.init_from = {self.source} is gone, and a run has not begun: put the file back")
        return self.variables

    def check(self, like: dict):
        """Raise InputError naming the tensors that are not those of the network. like: its abstract `{"params", "batch_stats"}`."""
        if self.variables is None:
            return
        found, wanted = shapes(self.variables), shapes(like)
        wrong = [f"{name} is missing" for name in wanted.keys() - found.keys()]
        wrong += [f"{name} is not in the network" for name in found.keys() - wanted.keys()]
        both = found.keys() & wanted.keys()
        wrong += [f"{name} is {found[name]}, in the network {wanted[name]}" for name in both if found[name] != wanted[name]]
        if wrong:
            more = f", and {len(wrong) - NAMED} more" * (len(wrong) > NAMED)
            raise InputError(
                f"config.model.init_from = {self.source} does not fit the network: {'; '.join(sorted(wrong)[:NAMED])}{more}. The tasks in "
                "config.loss must be those of the weights, with as many cut-offs; a clinical network must see as many columns"
            )


def shapes(variables: dict) -> dict[str, tuple[int, ...]]:
    """{"heads/age/kernel": shape} over all collections; running statistics have names of their own."""
    return {
        "/".join(str(key.key) for key in path[1:]): leaf.shape for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]
    }
