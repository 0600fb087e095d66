"""Reports by a language model behind an OpenAI-compatible chat server: vLLM, Ollama, llama.cpp on this machine, or a hosted one.

What is sent of a patient is `Seen`: findings and slices, and nothing that names anyone. Every report is made, or listed with its reason.
"""

import contextlib
import dataclasses
import logging
import os
import urllib.parse
from collections.abc import Callable

from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.preprocess.report import answers, instructions
from jaxstroke.preprocess.report.findings import Seen
from jaxstroke.preprocess.report.sections import rendered

logger = logging.getLogger("jaxstroke")


@dataclasses.dataclass(frozen=True)
class Answer:
    """A patient's report. text: "" where it is not made; failure: why, one line, "" where it is made.

    provenance   generator, model, url (without user and query), prompt (its hash), temperature, cached, and attempts and requests of this
                 command for it; patients with equal findings and slices share one report, and its requests
    ended        it is not made, and no more were asked for when it was given up: the budget is used, or the server of no use
    """

    text: str
    failure: str
    provenance: dict
    ended: bool = False


def written(
    seen: dict[str, Seen], settings, cache: epath.PathLike, advance: Callable[[int], None] = lambda count: None
) -> dict[str, Answer]:
    """The reports of all patients, by unit id; the ids go nowhere.

    settings: `config.text.llm`; cache: a folder, made where it is not there, in which every answer is kept as it comes, so that the same
    command again asks for what is not made only; advance is told how many patients more are done.
    Raises InputError for what is wrong in the settings.
    """
    address, shown = addresses(settings.url)
    if not settings.model.strip():
        raise InputError("config.text.llm.model is empty: name a model as the server of config.text.llm.url lists it at /models")
    asked = answers.Asked(settings.model, prompt(settings.prompt), float(settings.temperature))
    told = {
        "generator": "llm", "model": asked.model, "url": shown, "prompt": instructions.digest(asked.prompt),
        "temperature": asked.temperature,
    }  # fmt: skip
    folder, sharing, made = epath.Path(cache), {}, {}
    for unit, one in seen.items():
        sharing.setdefault(answers.name(one, asked), []).append(unit)

    def take(name: str, text: str, failure: str, cached: bool, attempts: int = 0, requests: int = 0, ended: bool = False):
        answer = Answer(text, failure, told | {"cached": cached, "attempts": attempts, "requests": requests}, ended)
        made.update(dict.fromkeys(sharing[name], answer))
        advance(len(sharing[name]))

    jobs = {}
    for name, units in sharing.items():
        one = seen[units[0]]
        if one.findings is None and not one.slices:
            take(name, "", "not made: there is neither a lesion mask nor a slice to write of", cached=False)
        elif (sections := answers.read(folder, name)) is not None:
            take(name, rendered(sections), "", cached=True)
        else:
            jobs[name] = one
    if jobs:
        ask(jobs, settings, asked, address, folder, take)
    return {unit: made[unit] for unit in seen}


def ask(jobs: dict[str, Seen], settings, asked: answers.Asked, address: str, folder: epath.Path, take: Callable):
    """Ask the server for reports that are not in the folder. This alone reaches the network."""
    from jaxstroke.preprocess.report import asking, chat

    secret = key(settings.key)
    answers.make_folder(folder)
    host = urllib.parse.urlsplit(address).hostname
    pictures = sum(len(one.slices) for one in jobs.values())
    logger.info("reports: %d to be asked of %s at %s; findings and %d slices go there", len(jobs), asked.model, host, pictures)
    if secret and address.startswith("http:") and host not in ("localhost", "127.0.0.1", "::1"):
        logger.warning("config.text.llm.url is http: the key, and what is sent of the patients, can be read on the way to %s", host)
    server = chat.connect(address, secret, float(settings.seconds), settings.at_once)
    run = asking.Run(server, asked, folder, settings.attempts, settings.at_once, settings.budget)
    failures = 0
    with contextlib.closing(asking.outcomes(run, jobs)) as outcomes:
        for name, outcome in outcomes:
            failures += bool(outcome.failure)
            take(name, rendered(outcome.sections), outcome.failure, False, outcome.attempts, outcome.requests, outcome.ended)
    if failures:
        logger.warning("reports: %d of %d are not made", failures, len(jobs))


def addresses(url: str) -> tuple[str, str]:
    """Where to post a chat, and the base as it may be shown: without query. No message shows the url: it may hold a secret."""
    cure = "give the base of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"config.text.llm.url is no address: {cure}") from None
    if parts.scheme not in ("http", "https") or not host or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise InputError(f"config.text.llm.url {'is no address of http or https' if url else 'is empty'}: {cure}")
    if parts.username is not None or parts.password is not None:
        raise InputError("config.text.llm.url holds a user or password: name the environment variable with the key as config.text.llm.key")
    place = f"[{host}]" if ":" in host else host
    base = f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    return f"{base}/chat/completions{f'?{parts.query}' if parts.query else ''}", base


def prompt(path: str) -> str:
    """The instructions' text: a file's, or ours."""
    if not path:
        return instructions.INSTRUCTIONS
    try:
        text = epath.Path(path).read_text()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InputError(f"config.text.llm.prompt: {path} cannot be read ({reason}): name a text file with instructions") from None
    if not text.strip():
        raise InputError(f"config.text.llm.prompt: {path} is empty: write instructions into it, or leave the config's key empty for ours")
    return text


def key(variable: str) -> str:
    """The server's key, out of the environment; "" where none is configured. It is shown nowhere."""
    if not variable:
        return ""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise InputError(f"config.text.llm.key: the environment variable {variable} is not set: set it to the server's key")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise InputError(f"config.text.llm.key: the environment variable {variable} holds what is no key: a space, or letters beyond ASCII")
    return value
