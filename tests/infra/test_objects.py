"""Object storage over a bucket: what leaves this process is sealed, and an absent storage is said to be away."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.kit import objects
from infra.kit.ids import made_at, new_id
from infra.kit.objects import ObjectMissing, Objects, ObjectSpoiled, Place
from infra.kit.problems import Unavailable
from infra.kit.settings import load

CONTENT = b"%PDF-1.4 somebody's passport"
PLACE = Place("papers", "ten_1", "pap_1")


@dataclass
class Bucket:
    """So much of S3 as files need: PUT, GET, removal, and a list."""

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    authorizations: set[str] = field(default_factory=set[str])
    port: int = 0

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        if method == "PUT":
            self.files[parts.path] = body
            return 200, b""
        if "list-type" in query:
            prefix = f"/bucket/{query['prefix'][0]}"
            keys = [path.removeprefix("/bucket/") for path in sorted(self.files) if path.startswith(prefix)]
            entries = "".join(
                f"<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-06-08T00:00:00.000Z</LastModified>"
                "<ETag>&quot;x&quot;</ETag></Contents>"
                for key in keys
            )
            return 200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
        if method == "POST":  # several at once
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for key in keys:
                self.files.pop(f"/bucket/{key}", None)
            told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return 200, f"<DeleteResult>{told}</DeleteResult>".encode()
        found = self.files.get(parts.path)
        return (404, b"") if found is None else (200, found)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Generator[Bucket]:
    made = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            made.authorizations.add(self.headers.get("authorization", "").split(" ")[0])
            status, content = made.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("etag", '"x"')
            self.send_header("last-modified", "Mon, 08 Jun 2026 00:00:00 GMT")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = answer

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "cn-1"}.items():
        monkeypatch.setenv(name, value)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def over(tmp_path: Path, port: int) -> Objects:
    bucket = {
        "SEATLINE_OBJECT_STORAGE_URL": "s3://bucket/house",
        "SEATLINE_OBJECT_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}",
    }
    return Objects(load(bucket | {"SEATLINE_DATA_DIRECTORY": str(tmp_path)}))


async def test_a_bucket_holds_sealed_files_and_gives_them_back(bucket: Bucket, tmp_path: Path) -> None:
    storage = over(tmp_path, bucket.port)
    await storage.put(PLACE, CONTENT)
    assert list(bucket.files) == [f"/bucket/house/{PLACE.path}"]
    assert b"passport" not in bucket.files[f"/bucket/house/{PLACE.path}"]
    assert bucket.authorizations == {"AWS4-HMAC-SHA256"}
    assert await storage.get(PLACE) == CONTENT
    assert [each async for page in storage.places("papers") for each in page] == [PLACE]
    first = bucket.files[f"/bucket/house/{PLACE.path}"]
    await storage.put(PLACE, CONTENT)
    assert bucket.files[f"/bucket/house/{PLACE.path}"] != first  # a nonce of its own
    bucket.files[f"/bucket/house/{PLACE.path}"] = first[:-1] + bytes([first[-1] ^ 1])
    with pytest.raises(ObjectSpoiled):
        await storage.get(PLACE)
    await storage.delete(PLACE)
    await storage.delete(PLACE)
    with pytest.raises(ObjectMissing):
        await storage.get(PLACE)


async def test_a_storage_that_is_away_is_said_to_be(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RETRIES", 0)
    storage = over(tmp_path, 9)
    with pytest.raises(Unavailable):
        await storage.put(PLACE, CONTENT)
    with pytest.raises(Unavailable):
        await storage.get(PLACE)


async def test_a_folder_that_cannot_be_written_is_away_too(tmp_path: Path) -> None:
    (tmp_path / objects.FOLDER).write_text("a file is in the way")
    storage = Objects(load({"SEATLINE_DATA_DIRECTORY": str(tmp_path)}))
    with pytest.raises(Unavailable):
        await storage.put(PLACE, CONTENT)


def test_an_identifier_says_when_it_was_made() -> None:
    made = made_at(new_id("pap"))
    assert made is not None
    assert made_at(new_id("pap")) is not None
    assert [made_at(text) for text in ("pap_none", "", "pap_" + "0" * 25 + "u")] == [None] * 3
