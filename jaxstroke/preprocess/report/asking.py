"""Many reports from one chat server: in threads, each with its attempts, and an end for all where going on is of no use."""

import contextlib
import dataclasses
import queue
import random
import threading

from jaxstroke.preprocess.report import answers, chat, instructions, judge
from jaxstroke.preprocess.report.findings import Seen
from jaxstroke.preprocess.report.shared import Never, Run, Shared

BACK_OFF = 0.5  # seconds before the second attempt, doubling; of it at least half
LONGEST_BACK_OFF = 30.0
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)  # states of a server that pass
FORMAT_WORDS = (b"response_format", b"json_schema", b"json_object")
HOPELESS = {  # what the next request would meet too
    401: "the server refused the key (401): check config.text.llm.key",
    403: "the server does not allow it (403): check config.text.llm.key and what it may use",
    404: "the server knows no such address or model (404): check config.text.llm.url, the base without /chat/completions, and "
    "config.text.llm.model",
}
ELSEWHERE = "the server sends elsewhere, which is not followed: give its own address as config.text.llm.url"


class Again(Exception):
    """An attempt that failed, and another may not. answer: the model's words that were refused, "" without."""

    def __init__(self, problem: str, answer: str = "", wait: float = 0.0):
        super().__init__(problem)
        self.answer, self.wait = answer, wait


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of one report: sections, {} where it is not made and `failure` says why; attempts and requests as in `Tally`.

    ended: it is not made, and no more were asked for when it was given up.
    """

    sections: dict[str, str]
    failure: str
    attempts: int
    requests: int
    ended: bool = False


@dataclasses.dataclass
class Tally:
    """Of one report so far. requests: attempts, and those sent once more in another format; replies: whatever they said."""

    attempts: int = 0
    requests: int = 0
    replies: int = 0


def outcomes(run: Run, jobs: dict[str, Seen]):
    """(name, Outcome) of each report as it ends; an answer is in the folder before. Threads are daemons: a program that is told to stop
    does not wait for requests under way."""
    shared, todo, done = Shared(run), queue.SimpleQueue(), queue.SimpleQueue()
    for job in jobs.items():
        todo.put(job)
    count = min(run.at_once, len(jobs))
    threads = [threading.Thread(target=work, args=(shared, todo, done), daemon=True, name="report") for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            name, outcome = done.get()
            if isinstance(outcome, Exception):
                raise outcome
            yield name, outcome
        for thread in threads:
            thread.join()
    finally:
        shared.end("it was stopped")
        run.server.pool.clear()


def work(shared: Shared, todo: queue.SimpleQueue, done: queue.SimpleQueue):
    """What a thread does: report after report; an error that nobody foresaw, as of a full disk, goes to the main thread."""
    with contextlib.suppress(queue.Empty):
        while True:
            name, seen = todo.get_nowait()
            try:
                done.put((name, report(shared, name, seen)))
            except Exception as error:
                shared.end("it was stopped")
                done.put((name, error))


def report(shared: Shared, name: str, seen: Seen) -> Outcome:
    """One report: attempts until there is one, or there will be none."""
    run, tally, problem = shared.run, Tally(), ""
    messages = question = instructions.messages(run.asked.prompt, seen)
    while tally.attempts < run.attempts:
        try:
            sections, usage = attempt(shared, tally, messages, seen)
        except Never as error:
            return Outcome({}, f"not made: {error}", tally.attempts, tally.requests, bool(shared.over))
        except Again as error:
            problem = str(error)
            if error.answer:
                messages = instructions.mended(question, error.answer, problem)
            if tally.attempts < run.attempts:
                shared.ended.wait(max(error.wait, back_off(tally.attempts)))
        else:
            answers.write(run.folder, name, sections, run.asked, usage)
            return Outcome(sections, "", tally.attempts, tally.requests)
    shared.lose(problem, silent=not tally.replies)
    why = f"not made in {run.attempts} attempts (config.text.llm.attempts), the last: {problem}"
    return Outcome({}, why, tally.attempts, tally.requests, bool(shared.over))


def back_off(attempts: int) -> float:
    """Seconds to wait after so many attempts; by chance, so that threads that failed together do not come back together."""
    return min(LONGEST_BACK_OFF, BACK_OFF * 2 ** (attempts - 1)) * random.uniform(0.5, 1.0)


def attempt(shared: Shared, tally: Tally, messages: list[dict], seen: Seen) -> tuple[dict, dict]:
    """The sections and the tokens they took. Raises Again or Never. A request whose answer's format is not known is sent once more."""
    shared.begin()
    tally.attempts += 1
    used = shared.format
    reply = sent(shared, tally, messages, used)
    while not_known(reply, used):
        shared.lower(used, chat.words(reply, shared.run.server.key))
        shared.begin()
        used = shared.format
        reply = sent(shared, tally, messages, used)
    if reply.status != 200:
        raise failure(shared, reply)
    try:
        found = judge.sections_of(reply.body, seen.findings)
    except judge.Invalid as error:
        raise Again(f"the answer {error}", error.answer) from None
    shared.made = True
    return found


def sent(shared: Shared, tally: Tally, messages: list[dict], used: int) -> chat.Reply:
    """One request and its reply; Again where there is none. used: number of the answer's format."""
    asked, form = shared.run.asked, instructions.FORMATS[used]
    request = {"model": asked.model, "temperature": asked.temperature, "messages": messages}
    tally.requests += 1
    try:
        reply = chat.post(shared.run.server, request | ({"response_format": form} if form else {}))
    except chat.NoReply as error:
        raise Again(f"no reply of the server ({error})") from None
    tally.replies += 1
    shared.hear()
    return reply


def not_known(reply: chat.Reply, used: int) -> bool:
    """Whether a server complains about the answer's format. It should say so with 400; some do with 422 or 500."""
    complains = reply.status in (400, 422, 500) and any(word in reply.body for word in FORMAT_WORDS)
    return complains and instructions.FORMATS[used] is not None


def failure(shared: Shared, reply: chat.Reply) -> Again | Never:
    """What an error of a server means for a report, and whether for all."""
    said = chat.words(reply, shared.run.server.key)
    said = f"{reply.status}{': ' if said else ''}{said}"
    if reply.status in PASSING:
        wait = reply.retry_after or 0.0
        if reply.status == 429 or wait:
            shared.pause(max(wait, BACK_OFF))
        return Again(f"the server answers {said}", wait=wait)
    if reply.status in HOPELESS or 300 <= reply.status < 400:
        shared.end(HOPELESS.get(reply.status, f"{ELSEWHERE} ({reply.status})"))
        return Never(shared.over)
    why = f"the server refuses it ({said})"
    shared.lose(why, silent=False)
    return Never(why)
