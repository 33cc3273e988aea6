"""A Google Cloud Storage of one process: what gcsfs and TensorStore ask of its JSON API, with generations.

Every object that is written gets a new generation, and a request with ``ifGenerationMatch`` or ``ifGenerationNotMatch``
is refused where its object is of another, or of that one: what makes a write of several objects safe.
"""

import base64
import contextlib
import email
import http.server
import itertools
import json
import re
import sys
import threading
import urllib.parse
import zlib
from collections.abc import Iterator

NAME = "bucket"
ROOT = f"/storage/v1/b/{NAME}"


class Bucket(http.server.ThreadingHTTPServer):
    """Its ``objects`` are name -> (generation, bytes)."""

    def __init__(self):
        super().__init__(("localhost", 0), Answer)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.lock, self.generations = threading.Lock(), itertools.count(1)
        self.forbidden = False
        """Whether everything is refused."""

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may hang up
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """With it, gcsfs and TensorStore ask this one, and nobody who they are."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
            "NO_GCE_CHECK": "true",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # else Google is asked what bucket it is
        }

    def put(self, name: str, content: bytes) -> None:
        self.objects[name] = next(self.generations), content

    def facts(self, name: str) -> dict[str, str]:
        generation, content = self.objects[name]
        crc = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
        own = {"name": name, "bucket": NAME, "size": str(len(content)), "etag": crc}
        link = f"{self.url}/download{ROOT}/o/{urllib.parse.quote(name, '')}?alt=media"
        made = "2026-01-01T00:00:00.000Z"
        return own | {"generation": str(generation), "updated": made, "mediaLink": link}


@contextlib.contextmanager
def bucket() -> Iterator[Bucket]:
    """One that answers while the block lasts."""
    server = Bucket()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def log_message(self, *_) -> None:
        pass

    def answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        asked = {k: v[-1] for k, v in urllib.parse.parse_qs(url.query, True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.reply(*self.act(self.command, url.path, asked, body))

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def reply(self, status, content=b"", headers=()) -> None:
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers = {**dict(headers), "Content-Type": "application/json"}
        with contextlib.suppress(BrokenPipeError):  # who has read enough may hang up
            self.send_response(status)
            for key, value in dict(headers).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def act(self, command, path, asked, body):
        """Status, content, headers."""
        if self.server.forbidden:
            return 403, {"error": {"code": 403, "message": "no permission"}}
        if path == "/batch/storage/v1":
            return self.batch(body)
        upload, path = (
            path.startswith("/upload"),
            path.removeprefix("/upload").removeprefix("/download"),
        )
        if path == ROOT:
            return 200, {"name": NAME, "kind": "storage#bucket"}
        if not path.startswith(f"{ROOT}/o"):
            return 404, {"error": {"code": 404, "message": path}}
        name = urllib.parse.unquote(path.removeprefix(f"{ROOT}/o").removeprefix("/"))
        if upload:
            return self.upload(asked, body)
        if not name:
            return self.listed(asked)
        if found := re.fullmatch(r"(.+)/(rewriteTo|copyTo|moveTo)/(?:b/[^/]+/)?o/(.+)", name):
            return self.copied(*found.groups())
        if refused := self.refused(name, asked):
            return refused
        if name not in self.server.objects:
            return self.absent(name)
        if command == "DELETE":
            del self.server.objects[name]
            return 204, b""
        return self.read(name) if asked.get("alt") == "media" else (200, self.server.facts(name))

    def absent(self, name):
        return 404, {"error": {"code": 404, "message": f"No such object: {NAME}/{name}"}}

    def refused(self, name, asked):
        now = self.server.objects.get(name, (0,))[0]
        if int(asked.get("ifGenerationMatch", now)) != now:
            return 412, {"error": {"code": 412, "message": "conditionNotMet"}}
        if asked.get("ifGenerationNotMatch") == str(now):
            return 304, b""
        return None

    def read(self, name):
        generation, content = self.server.objects[name]
        headers, status = {"x-goog-generation": str(generation)}, 200
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            size = len(content)
            start = int(first) if first else max(size - int(last), 0)
            stop = min(int(last) + 1, size) if first and last else size
            if start >= size:
                return 416, b"", headers
            headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
            content, status = content[start:stop], 206
        return status, content, headers

    def upload(self, asked, body):
        kind, name = asked.get("uploadType"), asked.get("name")
        if kind == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            facts, content = email.message_from_bytes(head + body).get_payload()
            name, body = json.loads(facts.get_payload())["name"], content.get_payload(decode=True)
        elif kind == "resumable" and "upload_id" not in asked:
            key = str(next(self.server.generations))
            self.server.uploads[key] = name or json.loads(body)["name"], b""
            where = f"{self.server.url}/upload{ROOT}/o?uploadType=resumable&upload_id={key}"
            return 200, {}, {"Location": where}
        elif kind == "resumable":
            name, before = self.server.uploads.pop(asked["upload_id"])
            body = before + body
            if self.headers["Content-Range"].endswith("/*"):  # more is to come
                self.server.uploads[asked["upload_id"]] = name, body
                return 308, b"", {"Range": f"bytes=0-{len(body) - 1}"}
        if refused := self.refused(name, asked):
            return refused
        self.server.put(name, body)
        return 200, self.server.facts(name)

    def copied(self, old, how, new):
        if old not in self.server.objects:
            return self.absent(old)
        self.server.put(new, self.server.objects[old][1])
        if how == "moveTo":
            del self.server.objects[old]
        facts = self.server.facts(new)
        return 200, {"done": True, "resource": facts} if how == "rewriteTo" else facts

    def listed(self, asked):
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        items, prefixes = [], set()
        for name in sorted(self.server.objects):
            if not name.startswith(prefix) or name < asked.get("startOffset", ""):
                continue
            if asked.get("endOffset") and name >= asked["endOffset"]:
                continue
            head, found, _ = name.removeprefix(prefix).partition(delimiter or "\0")
            if found:
                prefixes.add(prefix + head + delimiter)
            else:
                items.append(self.server.facts(name))
        return 200, {"items": items, "prefixes": sorted(prefixes)}

    def batch(self, body):
        """Deletions, one a part."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts, border = [], "border"
        for part in email.message_from_bytes(head + body).get_payload():
            path = part.get_payload().split()[1]
            status, _, *_ = self.act("DELETE", urllib.parse.urlsplit(path).path, {}, b"")
            parts.append(
                f"--{border}\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} OK\r\n\r\n"
            )
        content = "".join(parts) + f"--{border}--"
        return 200, content.encode(), {"Content-Type": f"multipart/mixed; boundary={border}"}
