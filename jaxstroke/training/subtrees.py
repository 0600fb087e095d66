"""Parts of a network's variables, nested dicts, by the name of the module that they belong to."""


def places(tree: dict, name: str) -> list[tuple[str, ...]]:
    """The path of every subtree of this name that is in no other such one."""
    found = []
    for key, value in tree.items():
        if key == name:
            found.append((key,))
        elif isinstance(value, dict):
            found += [(key, *path) for path in places(value, name)]
    return found


def without(tree: dict, name: str) -> dict:
    """The tree less every subtree of this name."""
    return {key: without(value, name) if isinstance(value, dict) else value for key, value in tree.items() if key != name}


def at(tree: dict, path: tuple[str, ...]) -> dict:
    """What lies at a path, {} where nothing does."""
    for key in path:
        tree = tree.get(key, {})
    return tree


def put(tree: dict, path: tuple[str, ...], part: dict):
    """Make a subtree of the tree, in place, at a path that is not there yet."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = part


def replaced(tree: dict, part: dict) -> dict:
    """The tree, each leaf that `part` has taken from there."""
    return {
        key: value if key not in part else replaced(value, part[key]) if isinstance(value, dict) else part[key]
        for key, value in tree.items()
    }
