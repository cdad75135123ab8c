"""What is compressed on its way out, and what must not be."""

import asyncio
import gzip
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from label_server.web.compression import Compression
from label_server.web.gateway import Gateway
from tests.support import web
from tests.support.ct import Ct, ct, read, written
from tests.support.dicomweb import Pacs, multipart
from tests.support.web import HTML, TOKENS, Server

TEXT = b"a line that comes again\n" * 100
FRAMES = 'multipart/related; type="application/octet-stream"; boundary=x'
NONE = {"Accept-Encoding": "identity"}
ANY = {"Accept-Encoding": "gzip"}


class Inner:
    """An application that answers as it is told."""

    def __init__(self) -> None:
        self.answer: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.answer(scope, receive, send)


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def client(inner: Inner) -> TestClient:
    return TestClient(Compression(inner))


def raw(client: TestClient, **headers: str) -> tuple[bytes, Any]:
    """The body as it came, and the headers."""
    with client.stream("GET", "/", headers=ANY | {key.replace("_", "-"): each for key, each in headers.items()}) as got:
        return b"".join(got.iter_raw()), got.headers


def stream(*pieces: bytes, kind: str = "text/plain", **headers: str) -> StreamingResponse:
    async def parts() -> Any:
        for piece in pieces:
            yield piece

    return StreamingResponse(parts(), media_type=kind, headers=headers)


KINDS = [
    *("text/html; charset=utf-8", "text/css", "text/javascript", "application/javascript", "application/json"),
    *("application/dicom+json", "application/dicom+xml", "application/wasm", "image/svg+xml", FRAMES),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_pays_is_compressed(client: TestClient, inner: Inner, kind: str):
    inner.answer = Response(TEXT, media_type=kind)
    body, headers = raw(client)
    assert gzip.decompress(body) == TEXT and len(body) < len(TEXT) / 5
    assert headers["content-encoding"] == "gzip" and headers["vary"] == "Accept-Encoding"
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize(
    "kind",
    ["application/gzip", "application/octet-stream", "image/png", "image/jpeg", "font/woff2", "application/zip", ""],
)
def test_other_kinds_go_as_they_are(client: TestClient, inner: Inner, kind: str):
    inner.answer = Response(TEXT, headers={"Content-Type": kind})
    body, headers = raw(client)
    assert body == TEXT and "content-encoding" not in headers and headers["content-length"] == str(len(TEXT))


def test_a_nifti_is_compressed_unless_it_is(client: TestClient, inner: Inner, tmp_path: Path):
    for name, packs in (("image.nii", True), ("image.nii.gz", False)):
        (tmp_path / name).write_bytes(TEXT)
        inner.answer = FileResponse(tmp_path / name, filename=name, media_type="application/octet-stream")
        assert ("content-encoding" in raw(client)[1]) == packs, name


def test_short_answers_go_as_they_are(client: TestClient, inner: Inner):
    inner.answer = Response(TEXT[:499], media_type="text/plain")
    body, headers = raw(client)
    assert body == TEXT[:499] and "content-encoding" not in headers and headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("said", "takes"),
    [
        ("gzip", True),
        ("GZIP;Q=1", True),
        ("br, gzip;q=0.1", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("br, deflate", False),
        ("identity", False),
        ("", False),
        ("xgzip", False),
        (";q=0,,", False),
    ],
)
def test_only_who_takes_gzip_gets_it(client: TestClient, inner: Inner, said: str, takes: bool):
    inner.answer = Response(TEXT, media_type="text/plain")
    body, headers = raw(client, Accept_Encoding=said)
    assert (body != TEXT) == takes and ("content-encoding" in headers) == takes
    assert headers["vary"] == "Accept-Encoding", "a cache keeps both apart"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Encoding": "br"}),
        (206, {"Content-Range": "bytes 0-2399/9999"}),
        (200, {"Cache-Control": "no-store, no-transform"}),
    ],
)
def test_what_is_packed_a_part_or_forbidden_goes_as_it_is(
    client: TestClient, inner: Inner, status: int, headers: dict[str, str]
):
    inner.answer = Response(TEXT, status, headers, "text/plain")
    body, got = raw(client)
    assert body == TEXT and got.get("content-encoding") == headers.get("Content-Encoding")


def test_a_head_has_no_body_to_compress(client: TestClient, inner: Inner):
    inner.answer = Response(TEXT, media_type="text/plain")
    headers = client.head("/", headers=ANY).headers
    assert "content-encoding" not in headers and headers["vary"] == "Accept-Encoding"


def test_the_mark_of_a_file_is_weak_where_its_bytes_are_others(client: TestClient, inner: Inner, tmp_path: Path):
    (tmp_path / "x.css").write_bytes(TEXT)
    inner.answer = FileResponse(tmp_path / "x.css")
    strong, weak = raw(client, **NONE)[1]["etag"], raw(client)[1]["etag"]
    assert weak == f"W/{strong}"
    inner.answer = Response(TEXT, headers={"ETag": 'W/"1"'}, media_type="text/plain")
    assert raw(client)[1]["etag"] == 'W/"1"'


def test_a_piece_is_sent_when_it_comes(inner: Inner):
    """Nobody waits for the whole: each piece can be read when it is there."""
    sent: list[dict[str, Any]] = []

    async def pieces() -> Any:
        for number in range(3):
            assert sum(message["type"] == "http.response.body" for message in sent) == number
            yield b"%d" % number * 100

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", b"gzip")]}
    inner.answer = StreamingResponse(pieces(), media_type="text/plain").stream_response
    asyncio.run(Compression(lambda scope, receive, send: inner.answer(send))(scope, None, send))
    reader = zlib.decompressobj(31)
    assert [reader.decompress(message["body"])[:1] for message in sent[1:]] == [b"0", b"1", b"2", b""]
    assert reader.eof


@pytest.mark.parametrize("pieces", [(), (b"",), (b"", b"x"), (TEXT,), (TEXT, b"", TEXT)], ids=len)
@pytest.mark.parametrize("kind", ["text/plain", FRAMES], ids=["text", "frames"])
def test_a_stream_in_pieces_is_whole(client: TestClient, inner: Inner, kind: str, pieces: tuple[bytes, ...]):
    inner.answer = stream(*pieces, kind=kind)
    assert client.get("/", headers=ANY).content == b"".join(pieces)


def test_the_length_of_a_stream_is_not_known(client: TestClient, inner: Inner):
    inner.answer = stream(TEXT, TEXT, **{"Content-Length": str(2 * len(TEXT))})
    body, headers = raw(client)
    assert gzip.decompress(body) == TEXT * 2 and "content-length" not in headers


# --- DICOM ---


def part(syntax: str, kind: str = "application/octet-stream") -> bytes:
    return f"--x\r\nContent-Type: {kind}; transfer-syntax={syntax}\r\n\r\n".encode() + bytes(5000) + b"\r\n--x--"


@pytest.mark.parametrize(
    ("body", "packs"),
    [
        (part("1.2.840.10008.1.2.1"), True),
        (part("1.2.840.10008.1.2"), True),
        (part("1.2.840.10008.1.2.4.90"), False),
        (part("1.2.840.10008.1.2.4.201", "image/jphc"), False),
        (part("1.2.840.10008.1.2.5"), False),
        (part("1.2.840.10008.1.2.1.99"), False),
        (part("*", "image/jpeg"), False),
    ],
    ids=["explicit", "implicit", "JPEG 2000", "HTJ2K", "RLE", "deflated", "no syntax"],
)
def test_frames_are_compressed_unless_dicom_has(client: TestClient, inner: Inner, body: bytes, packs: bool):
    for size in (1, 100, 6000):
        inner.answer = stream(*(body[at : at + size] for at in range(0, len(body), size)), kind=FRAMES)
        got, headers = raw(client)
        assert ("content-encoding" in headers) == packs, size
        assert (gzip.decompress(got) if packs else got) == body


def test_the_type_of_all_parts_tells_that_they_are_packed(client: TestClient, inner: Inner):
    inner.answer = Response(TEXT, media_type='multipart/related; type="image/jpeg"; boundary=x')
    assert raw(client)[0] == TEXT


def packed(series: Ct) -> bytes:
    """A slice of the series as RLE; its content is no matter here."""
    dataset = read(series.files[0])
    dataset.PixelData = encapsulate([random.Random(1).randbytes(2000)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    return written(dataset)


def test_files_are_compressed_unless_dicom_has(client: TestClient, inner: Inner):
    for content, packs in ((ct().files[0], True), (packed(ct()), False)):
        body, kind = multipart(content)
        inner.answer = Response(body, media_type=kind)
        got, headers = raw(client)
        assert ("content-encoding" in headers) == packs and (gzip.decompress(got) if packs else got) == body


# --- the server ---


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Server]:
    async def tell(request: Request) -> Response:
        return Response(TEXT, media_type="text/plain")

    app = Gateway(Starlette(routes=[Route("/{path:path}", tell)]), web.users(tmp_path), open_on_loopback=False)
    yield Server(TestClient(app))


def test_a_page_that_holds_the_token_is_not_compressed(gate: Server):
    """Beside words of somebody else's choice its length would tell the token."""
    headers = HTML | ANY | {"Sec-Fetch-Site": "cross-site"}
    answer = gate.ask("GET", f"/{TOKENS['anna']}/{'x' * 1000}", headers=headers)
    assert TOKENS["anna"] in answer.text and len(answer.content) > 1000
    assert "content-encoding" not in answer.headers and answer.headers["cache-control"] == "no-store, no-transform"


def test_whatever_the_gate_sends_is_compressed_where_it_pays(server: Server, pacs: Pacs, image: Ct):
    for path in ("/", "/openapi.json", f"/proxy/dicom/wado/studies/{image.study_uid}/series/{image.uid}"):
        answer = server.ask("GET", path, "anna", headers=HTML | ANY)
        assert answer.status_code == 200 and answer.headers["content-encoding"] == "gzip", path
        plain = server.ask("GET", path, "anna", headers=HTML | NONE)
        assert "content-encoding" not in plain.headers and len(plain.content) > 500
    assert "content-encoding" not in server.ask("GET", f"/datastore/image?image={image.uid}", "anna").headers
