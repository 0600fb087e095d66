"""One request to a chat server over HTTP: its reply, or why there is none. Whether to ask again is `asking`'s to say.

Redirects are not followed, and no proxy of the environment is used: key and findings go to the one address that the config names.
"""

import dataclasses
import datetime
import email.utils
import json
import re
import time

import urllib3

LONGEST = 4 * 2**20  # bytes of a reply that are read
QUOTED = 120  # characters of a server's words in a message
PAUSE = 300.0  # seconds that a server may make us wait
AGENT = "jaxstroke"


class NoReply(Exception):
    """Nothing came, or but a part; one line says why."""


@dataclasses.dataclass(frozen=True)
class Server:
    """Where to ask. address: of chat/completions; key: "" without; seconds: that a reply may take."""

    address: str
    seconds: float
    pool: urllib3.PoolManager = dataclasses.field(repr=False)
    key: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Reply:
    """retry_after: seconds to wait as the server says, None where it does not."""

    status: int
    body: bytes
    retry_after: float | None


def connect(address: str, key: str, seconds: float, at_once: int) -> Server:
    """Nothing is sent yet. `server.pool.clear()` closes its connections."""
    return Server(address, seconds, urllib3.PoolManager(num_pools=1, maxsize=at_once, block=False), key)


def post(server: Server, request: dict) -> Reply:
    """Send a request and read the whole reply. Raises NoReply.

    The time is that of connecting and waiting together; a body that trickles in is given up at its end, or one silence later.
    """
    end = time.monotonic() + server.seconds
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": AGENT}
    headers |= {"Authorization": f"Bearer {server.key}"} if server.key else {}
    options = {"redirect": False, "retries": False, "preload_content": False, "timeout": urllib3.Timeout(total=server.seconds)}
    try:
        response = server.pool.urlopen("POST", server.address, body=json.dumps(request).encode(), headers=headers, **options)
        return Reply(response.status, read(response, end), retry_after(response.headers.get("Retry-After", "")))
    except urllib3.exceptions.HTTPError as error:
        raise NoReply(reason(error)) from None


def read(response, end: float) -> bytes:
    """The body; the connection goes back to the pool where it came whole, else it is closed."""
    body = bytearray()
    try:
        while part := response.read1(2**16):
            body += part
            if time.monotonic() > end or len(body) > LONGEST:
                raise NoReply("it is not whole within config.text.llm.seconds" if len(body) <= LONGEST else "it never ends")
        response.release_conn()
    finally:
        response.close()
    return bytes(body)


def reason(error: Exception) -> str:
    """Why there is no reply, without addresses and without urllib3's own words for its objects."""
    kinds = urllib3.exceptions
    if isinstance(error, kinds.NameResolutionError):
        return "its name is not known"
    if isinstance(error, kinds.NewConnectionError):
        return "it accepts no connection"
    if isinstance(error, kinds.TimeoutError):
        return "none within config.text.llm.seconds"
    if isinstance(error, kinds.SSLError):
        return "its certificate or encryption is not accepted; SSL_CERT_FILE may name certificates of your own"
    if isinstance(error, (kinds.ProtocolError, kinds.IncompleteRead)):
        return "the connection ended in the middle of it"
    return f"no HTTP ({type(error).__name__})"


def retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where it holds neither."""
    if re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", value):
        return min(float(value), PAUSE)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return min(max((date - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0), PAUSE)


def words(reply: Reply, key: str = "") -> str:
    """What a server says of an error, one short line, without the key it may repeat; "" where it says nothing."""
    text = reply.body.decode(errors="replace")
    try:
        said = json.loads(text)
        said = said.get("error", said.get("message", said.get("detail", said)))
        text = str(said.get("message", said) if isinstance(said, dict) else said)
    except (ValueError, AttributeError, RecursionError):
        pass
    text = " ".join(text.replace(key, "***").split() if key else text.split())
    return "".join(letter for letter in text if letter.isprintable())[:QUOTED]
