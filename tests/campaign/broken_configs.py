"""Damaged configs: an override on the command line, or a config file that sets a key to what nobody wants, or that is broken itself."""

import pathlib
import zlib

import mutations

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "configs" / "mri_cnn_lstm.py"
WRITTEN = (
    "-1", "0", "1", "2", "1.5", "-0.5", "1e400", "1e-400", "nan", "inf", "-inf", "", " ", "None", "True", "False", "abc", "dwi", "age",
    "poor",
    "(1,2)", "()", "(1,)", "(0,)", "('a',)", "(1,'a')", "[1,2]", "{}", "{'a':1}", "(1000000,1000000,1000000)", "(4,16,1000000)", "('dwi',)",
    "('dwi','dwi')", "('dwi','t1')", "(-1,-1,-1)", "(0,0,0)", "(1,1,1)", "(float('nan'),0,0)", "(1e308,1e308,1e308)", "(1e-9,1e-9,1e-9)",
    "(1,2,3,4)", "(None,)", "(True,True,True)", "('mrs','>',2)", "('mrs','>','a')", "('mrs','in',())", "('mrs','ordinal',(3,1))", "('',)",
    "('mrs','~',2)", "(1,'>',2)", "9" * 30, "9" * 5000, "(" * 3000, "lambda: 0", "é", "foo://x", "gs://bucket", "~nobody/x", "/dev/null",
    "../..", "-", "--", "x" * 100_000,
)  # fmt: skip
PYTHON = (
    "None", "object()", "-1", "0", "1", "2", "10**9", "10**5000", "-10**5000", "2.5", "float('nan')", "float('inf')", "True", "''", "'abc'",
    "'dwi'", "'a\\0b'", "b'x'", "()", "(1,)", "(0, 0)", "(1, 2, 3)", "('a',)", "('mrs', '>', 2)", "('mrs', '>', float('nan'))",
    "(None,) * 3", "(10**6,) * 3", "(10**400,) * 3", "(1e-300,) * 3", "(float('nan'),) * 3", "[1, 2]", "['dwi']", "[[]]", "{}",
    "{'a': 1}", "set()",
    "range(3)", "lambda: 0", "__import__('numpy').int64(3)", "__import__('numpy').zeros(3)", "__import__('ml_collections').ConfigDict()",
    "__import__('ml_collections').ConfigDict({'a': 1})", "__import__('pathlib').Path('/')",
)  # fmt: skip
OF_TYPE = {
    int: ("-1", "0", "1", "2", "3", "7", "1000", "1000000000", "9" * 30),
    float: ("-0.1", "0", "0.25", "0.9", "1", "1.1", "nan", "inf", "1e300"),
    tuple: (
        "()", "(1,)", "('dwi',)", "('age',)", "(4,16,16)", "(0,1)", "(1,0)", "(0.1,0.9)", "(4,16,1000000)", "(0.0,1e-3,4.0)",
        "('mrs','>',4)",
    ),
    bool: ("True", "False", "0", "2"),
}  # fmt: skip
SETTING = """
import importlib.util
spec = importlib.util.spec_from_file_location("base", {base!r})
base = importlib.util.module_from_spec(spec)
spec.loader.exec_module(base)

def get_config(variant="own"):
    config = base.get_config(variant)
    with config.unlocked(){also}:
{lines}
    return config
"""
BROKEN = {
    "a syntax error": "def get_config(:\n", "no get_config": "x = 1\n", "nothing": "", "no Python": "<html>404</html>", "a string": "'abc'",
    "no config": "def get_config(variant=''):\n    return None\n", "a dict": "def get_config(variant=''):\n    return {'a': 1}\n",
    "an empty config": "import ml_collections\ndef get_config(variant=''):\n    return ml_collections.ConfigDict()\n",
    "an error": "def get_config(variant=''):\n    return 1 / 0\n", "an unknown name": "def get_config(variant=''):\n    return nothing\n",
    "an unknown module": "import no_such_module\n", "no argument": "def get_config():\n    raise KeyError('dwi')\n",
    "a null byte": "x = '\0'\n", "bytes": "\udcff\udcfe", "endless": "def get_config(variant=''):\n    return get_config(variant)\n",
}  # fmt: skip
HEAVY = {"cohort.workers": ("2", "3", "10**9"), "cohort.synthetic.patients": ()}  # values that are right, and take long


def leaves(config, prefix: str = "") -> list[str]:
    """Dotted names of all keys, sections among them."""
    found = []
    for key in sorted(config):
        found.append(f"{prefix}{key}")
        if hasattr(config[key], "to_dict"):
            found += leaves(config[key], f"{prefix}{key}.")
    return found


def value_of(config, key: str):
    for part in key.split("."):
        config = config[part]
    return config


def make(seed: int, number: int, config, folder: pathlib.Path) -> tuple[list[str], str, str]:
    """Flags after those of the cohort, what was done, and the key it was done to ("" for none). config: the whole one that is damaged."""
    keys = leaves(config)
    draw = mutations.chance("configs", seed, number)
    kind = draw.random()
    if kind < 0.05:
        words = draw.choice(sorted(BROKEN))
        return [f"--config={program(folder, BROKEN[words])}:own"], f"a config file with {words}", ""
    if kind < 0.1:
        flag = draw.choice((
            f"--config={CONFIG}:onw", f"--config={CONFIG}:", "--config=", "--config", f"--config={folder}", "--config=nothing.py",
            f"--config={CONFIG}.own", "--mode=", "--mode=TRAIN", "--mode=prepare=1", "--workdir=", "--cohort=x.csv", "--output=x",
            "--profile", "--config.x=1", "--config.train=1", "--config.train.epochs", "--config.=1", "--config..=1",
            "--noconfig.train.epochs", "x", "-",
            "--", "--=", "---", "--help=1", "--flagfile=/nothing", "--undefok=x", "--config.train.epochs.x=1", "--config.images.dwi[0]=1",
        ))  # fmt: skip
        return [flag], flag, ""
    key = draw.choice(keys)
    if kind < 0.55:
        values = OF_TYPE.get(type(value_of(config, key)), WRITTEN) if draw.random() < 0.7 else WRITTEN
        value = draw.choice([value for value in values if value not in HEAVY.get(key, ())])
        return [f"--config.{key}={value}"], f"--config.{key}={value[:60]} ({len(value)} characters)", key
    lines, words = [], []
    for _ in range(draw.choice((1, 1, 1, 2))):
        value = draw.choice([value for value in PYTHON if value not in HEAVY.get(key, ())])
        what = draw.choice(("set", "set", "set", "set", "gone", "more"))
        section, _, last = key.rpartition(".")
        section = f"config.{section}" if section else "config"
        if what == "gone":
            lines.append(f"del {section}['{last}']")
        else:
            lines.append(f"config.{key}{'' if what == 'set' else '_x'} = {value}")
        words.append(lines[-1])
        key = draw.choice(keys)
    text = "\n".join(f"        {line}" for line in lines)
    also = draw.choice(("", ", config.ignore_type()"))
    return [f"--config={program(folder, SETTING.format(base=str(CONFIG), also=also, lines=text))}:own"], "; ".join(words), key


def program(folder: pathlib.Path, text: str) -> pathlib.Path:
    path = folder / f"config_{zlib.crc32(text.encode(errors='surrogateescape'))}.py"  # Python keeps what it compiled of a file by its name
    path.write_text(text, errors="surrogateescape")
    return path


def command(flags: list[str], cohort: pathlib.Path, workdir: pathlib.Path) -> list[str]:
    """A command line that prepares a small cohort, with the damaged flags last, or in place of the same ones."""
    sizes = [f"--config.images.{name}.{size}" for name in ("dwi", "adc") for size in ("shape=(3,8,8)", "spacing=(40,24,24)")]
    whole = [
        f"--config={CONFIG}:own", f"--workdir={workdir}", "--mode=prepare", f"--config.cohort.table={cohort}", "--config.cohort.workers=1",
        "--config.device.cache=", "--config.model.images=('dwi','adc')", "--config.model.widths=(4,)", *sizes,
    ]  # fmt: skip
    named = [flag.partition("=")[0] for flag in flags]
    first = [flag for flag in flags if flag.partition("=")[0] == "--config"]  # overrides come after it
    return [*first, *(flag for flag in whole if flag.partition("=")[0] not in named), *(flag for flag in flags if flag not in first)]
