"""A real HTTP server on loopback that speaks the chat protocol, each request by a behaviour of a script; and what it is asked for."""

import contextlib
import email.utils
import http.server
import json
import threading
import time

from jaxstroke import config as base
from jaxstroke.preprocess.report.findings import Findings, Seen, Territory

SCHEMA, OBJECT = "json_schema", "json_object"


def seen(number: int, slices: tuple[bytes, ...] = ()) -> Seen:
    """Findings that are no other number's."""
    territory = Territory(3, "left M1", share=0.25, ml=number + 0.25)
    return Seen(Findings("left", number + 0.25, number + 0.25, 0.0, lesions=2, diameter_mm=31.4, territories=(territory,)), slices)


def cohort(count: int) -> dict[str, Seen]:
    return {f"SENTINEL-{number}": seen(number) for number in range(count)}


def settings(url: str, **changes):
    """`config.text.llm`."""
    found = base.base().text.llm
    found.update({"url": url, "model": "a-model", "at_once": 1, "seconds": 20.0} | changes)
    return found


def told(request: dict) -> dict | None:
    """The findings that a request holds."""
    content = request["messages"][1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return json.loads(text.split("\n", 1)[1]) if "\n" in text else None


def sections(request: dict) -> dict:
    """A report of them."""
    findings = told(request)
    size = f"{findings['volume_ml']:.1f} ml" if findings else "not measured"
    return {
        "side": "Left hemisphere.", "territories": "Left M1, 25 %", "size": size, "lesions": "several", "signal": "",
        "impression": "Left infarct.",
    }  # fmt: skip


def reply(handler, status: int, body: bytes, **headers):
    handler.send_response(status)
    for name, value in ({"Content_Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def chat(content, end: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": end}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 200, "completion_tokens": 90}}).encode()


def good(handler, request):
    body = chat(json.dumps(sections(request)))
    with handler.server.lock:
        handler.server.served += 1
    reply(handler, 200, body)


def says(change, end: str = "stop"):
    """A behaviour that answers with `change` of the right sections: other sections, or a text."""

    def answer(handler, request):
        found = change(sections(request))
        reply(handler, 200, chat(found if isinstance(found, str | None) else json.dumps(found), end))

    return answer


def fails(status: int, message: str = "out of order", **headers):
    def answer(handler, request):
        reply(handler, status, json.dumps({"error": {"message": message}}).encode(), **headers)

    return answer


def limited_till_date(handler, request):
    handler.server.date = int(time.time()) + 2
    reply(handler, 429, b"", Retry_After=email.utils.formatdate(handler.server.date, usegmt=True))


def silent(handler, request):
    """No answer until the server is closed, then none either."""
    with handler.server.lock:
        handler.server.held += 1
    handler.server.over.wait()
    handler.close_connection = True


def trickles(handler, request):
    """An answer that takes seconds, a byte at a time, and is cut off."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.close_connection = True
    for _ in range(200):
        if handler.server.over.wait(0.02):
            return
        handler.wfile.write(b" ")


def half(handler, request):
    """Less than its length says."""
    body = chat(json.dumps(sections(request)))
    reply(handler, 200, body[: len(body) // 2], Content_Length=str(len(body)))
    handler.close_connection = True


def half_of_chunks(handler, request):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    body = chat(json.dumps(sections(request)))[:60]
    handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
    handler.close_connection = True


def hangs_up(handler, request):
    handler.close_connection = True


def garbage(handler, request):
    reply(handler, 200, b"<html>welcome to the ward's printer</html>")


def redirects(handler, request):
    reply(handler, 307, b"", Location=f"http://127.0.0.1:{handler.server.server_port}/elsewhere/chat/completions")


def knows_formats(*known, status: int = 400, long: bool = False):
    """A server that refuses other formats of answers than these."""

    def answer(handler, request):
        form = request.get("response_format", {"type": "text"})["type"]
        if form in known:
            return good(handler, request)
        words = f"{'x' * 300 if long else ''}'response_format.type' must be one of {known}"
        return reply(handler, status, json.dumps({"error": words}).encode())

    return answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server, body = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            behaviour = server.script.pop(0) if server.script else server.otherwise
            server.bodies.append(body)
            server.heads.append((self.path, str(self.headers)))
            server.times.append(time.time())
            server.open += 1
            server.most = max(server.most, server.open)
        try:
            behaviour(self, json.loads(body))
        finally:
            with server.lock:
                server.open -= 1

    def log_message(self, format, *args):
        """A test's output is for its failures."""


class Server(http.server.ThreadingHTTPServer):
    """script: behaviours of the next requests, then `otherwise`. served: good answers; open, most: requests at one time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.over = threading.Lock(), threading.Event()
        self.script, self.otherwise = [], good
        self.bodies, self.heads, self.times = [], [], []
        self.served = self.open = self.most = self.held = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def requests(self) -> list[dict]:
        return [json.loads(body) for body in self.bodies]

    def handle_error(self, request, client_address):
        """Clients hang up on a server that is slow: that is what is tested."""


@contextlib.contextmanager
def running():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def wait_for(condition):
    """Until something is so that is bound to happen; a test that waits in vain fails."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.01)
