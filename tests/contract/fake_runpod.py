"""A RunPod of our own: keeps templates, pods and volumes, and behaves as the real one was seen to behave.

Every request and every answer is held against RunPod's own document where that is there, and against
runpod_contract.py always; what breaks it is kept in `violations`, so that the fake cannot drift into fiction.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.contract.runpod_contract import OPERATIONS
from tests.contract.runpod_document import Document

KEY = "rp-key-of-the-test"
NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)
# What stands before the real API answers like this, and not in JSON.
PAGE = "<html><head><title>Just a moment...</title></head></html>"


class Refusal(Exception):
    def __init__(self, status: int, detail: str, errors: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, errors


@dataclass
class Fault:
    """Something that goes wrong with one operation, a number of times."""

    operation: str
    status: int = 0  # 0: the connection ends without an answer
    times: int = 1
    done: bool = False  # whether the operation was carried out all the same
    page: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    late: float = 0.0  # seconds after which it is carried out
    detail: str = "as asked"


def gpu(name: str, memory: int, secure: float, community: float = 0, availability: str = "HIGH", **more: Any) -> dict:
    """An entry of the catalogue."""
    entry = {
        "id": name,
        "name": name.removeprefix("NVIDIA "),
        "pool": None,
        "manufacturer": "NVIDIA",
        "memory": memory,
        "secure": secure > 0,
        "community": community > 0,
        "price": {"secure": secure, "community": community},
        "maxCount": {"secure": 8, "community": 4},
        "availability": availability,
        "dataCenters": [{"id": "EU-RO-1", "name": "EU-RO-1", "availability": availability}],
    }
    return entry | more


CATALOGUE = [
    gpu("NVIDIA GeForce RTX 4090", 24, 0.74, 0.34),
    gpu("NVIDIA RTX 2000 Ada Generation", 16, 0.24, 0.16, "LOW"),
    gpu("NVIDIA RTX A4000", 16, 0.25, 0.17),
    gpu("NVIDIA GeForce RTX 3070", 8, 0.13, 0.07),
    gpu("AMD Instinct MI300X OAM", 192, 0.10, 0.10, manufacturer="AMD"),
    gpu("Tesla V100-PCIE-16GB", 16, 0.11, 0.10),
    gpu("unknown", 24, 0.01, 0.01),
]


class FakeRunPod:
    """The service; `url` is its base. The same port answers as the proxy before the pods' label servers."""

    def __init__(self, document: Document | None, address: str = "127.0.0.1") -> None:
        self.document = document
        self.templates: dict[str, dict] = {}
        self.pods: dict[str, dict] = {}
        self.volumes: dict[str, dict] = {}
        self.bills: list[dict] = []
        self.catalogue = [dict(each) for each in CATALOGUE]
        self.full: set[str] = set()  # GPUs that are offered and refused
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.violations: list[str] = []
        self.system_log = ["create container", "start container"]
        self.polls_until_ready = 2
        self.token_answers: Callable[[str], tuple[int, Any]] = lambda _: (200, {"name": "label server"})
        self.on_create: Callable[[dict], None] = lambda _: None
        self.page_size = 0
        self.cursors: Iterator[int] | None = None  # where they change with every page
        self.endless: Callable[[], Iterator[bytes]] | None = None  # what comes behind a log's lines
        self.balance = 10.0
        self._lock = threading.RLock()
        self._number = 0
        self._server = ThreadingHTTPServer((address, 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://{address}:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, operation: str, **fault: Any) -> None:
        self.faults.append(Fault(operation, **fault))

    def live(self) -> list[dict]:
        return [pod for pod in self.pods.values() if pod["status"] != "TERMINATED"]

    # --- operations, named as in RunPod's document ---

    def listTemplates(self, _: Any) -> dict:
        return {"templates": list(self.templates.values())}

    def createTemplate(self, body: dict) -> dict:
        if body["name"] in {template["name"] for template in self.templates.values()}:
            raise Refusal(400, f"template name {body['name']} must be unique")
        defaults = {"args": "", "mounts": {}, "startSsh": True, "startJupyter": True, "public": False}
        template = {"id": self._id("tpl"), "category": "NVIDIA", "serverless": False, **defaults, **body}
        self.templates[template["id"]] = template
        return template

    def updateTemplate(self, body: dict, id: str) -> dict:
        self._known(self.templates, id).update(body)
        return self.templates[id]

    def listPods(self, _: Any) -> dict:
        return {"pods": list(self.pods.values())}

    def getPod(self, _: Any, id: str) -> dict:
        pod = self._known(self.pods, id)
        if pod["status"] == "RUNNING" and pod["runtime"] is None:
            pod["_polls"] = pod.get("_polls", 0) + 1
            if pod["_polls"] >= self.polls_until_ready:
                pod["runtime"] = self._runtime(pod)
        return pod

    def createPod(self, body: dict) -> dict:
        if self.balance <= 0:
            raise Refusal(402, "Insufficient balance.")
        wanted = body.get("gpu") or {}
        template = self._known(self.templates, body["templateId"]) if "templateId" in body else {}
        offered = {each["id"]: each for each in self.catalogue}.get(wanted.get("id"))
        # Without a count no machine is found, whatever the document says.
        if not offered or "count" not in wanted or wanted["id"] in self.full:
            raise Refusal(400, NO_CAPACITY)
        network = (body.get("mounts") or {}).get("network") or []
        for mount in network:
            center = self._known(self.volumes, mount["volumeId"])["dataCenter"]
            if body.get("dataCenterIds") != [center]:
                raise Refusal(400, "the network volume is in another data center")
        pod = self._pod(body, template, offered, network)
        self.pods[pod["id"]] = pod
        self.on_create(pod)
        return pod

    def deletePod(self, _: Any, id: str) -> None:
        self._known(self.pods, id)
        del self.pods[id]

    def podAction(self, body: dict, id: str) -> dict | None:
        pod, action = self._known(self.pods, id), body["action"]
        if action not in pod["actions"]:
            raise Refusal(409, f"cannot {action} a pod that is {pod['status']}")
        if action == "stop":
            # The cost goes on being shown, whatever the document says.
            pod.update(status="EXITED", runtime=None, actions=["start", "terminate"], startedAt=None)
        elif action == "start":
            if pod["gpu"]["id"] in self.full:
                raise Refusal(400, "There are not enough free GPUs on the host machine to start this pod.")
            pod.update(status="RUNNING", actions=["stop", "restart", "terminate"], startedAt=_now())
            pod.pop("_polls", None)
        return pod

    def getPodLogs(self, _: Any, id: str) -> list[str]:
        self._known(self.pods, id)
        return self.system_log

    def listGpuTypes(self, _: Any) -> dict:
        return {"gpus": self.catalogue}

    def listNetworkVolumes(self, _: Any) -> dict:
        return {"networkVolumes": list(self.volumes.values())}

    def createNetworkVolume(self, body: dict) -> dict:
        volume = {"id": self._id("vol"), "type": "STANDARD", **body}
        self.volumes[volume["id"]] = volume
        return volume

    def listPodBilling(self, _: Any) -> dict:
        return self._bill("podId", "uniquePodCount", {"gpuAmount": 0.0, "cpuAmount": 0.0, "diskAmount": 0.0})

    def listNetworkVolumeBilling(self, _: Any) -> dict:
        amounts = {"standardAmount": 0.0, "highPerformanceAmount": 0.0}
        return self._bill("networkVolumeId", "uniqueNetworkVolumeCount", amounts)

    # --- how they are made ---

    def _bill(self, key: str, unique: str, amounts: dict[str, float]) -> dict:
        # The filter is ignored: an API may well do that to a parameter that it does not know.
        records = [amounts | bill for bill in self.bills if key in bill]
        window = {"startTime": "2026-11-01T00:00:00Z", "endTime": "2026-12-01T00:00:00Z"}
        totals = amounts | {"totalAmount": sum(record["totalAmount"] for record in records)}
        metadata = {"query": window | {"bucketSize": "day"}, "recordCount": len(records), unique: 1, "totals": totals}
        return {"records": records, "metadata": metadata}

    def _pod(self, body: dict, template: dict, offered: dict, network: list) -> dict:
        given = {name: value for name, value in body.items() if name in ("image", "disk", "ports", "registry")}
        container = {name: template.get(name) for name in ("image", "disk", "ports", "registry")} | given
        cloud = body.get("cloud", "SECURE")
        return {
            **container,
            "id": self._id("pod"),
            "name": body["name"],
            "args": "",
            # Key by key, the body's values first.
            "env": {**template.get("env", {}), **body.get("env", {})},
            # At once, long before the container runs.
            "status": "RUNNING",
            "runtime": None,
            "actions": ["stop", "restart", "terminate"],
            "mounts": {"network": network} if network else {},
            "gpu": {"id": offered["id"], "count": 1},
            "cloud": cloud,
            "dataCenterId": (body.get("dataCenterIds") or ["EU-RO-1"])[0],
            "cudaVersion": "12.8",
            "ssh": {"proxy": None, "direct": None},
            "template": None,
            "cost": offered["price"][cloud.lower()],
            "locked": False,
            "createdAt": _now(),
            "startedAt": _now(),
            "globalNetworking": {"enabled": False},
        }

    def _runtime(self, pod: dict) -> dict:
        ports = [{"private": 22, "public": 35558, "type": "tcp", "ip": "127.0.0.1"}]
        # One that nobody asked for.
        ports += [{"private": 19123, "public": 60821, "type": "http", "ip": "100.65.14.155"}]
        return {"uptime": 3, "gpus": [{"util": 0, "memoryUtil": 0}], "ports": ports}

    def _id(self, kind: str) -> str:
        self._number += 1
        return f"{kind}{self._number:04}"

    @staticmethod
    def _known(collection: dict, id: str) -> dict:
        if id not in collection:
            raise Refusal(404, "not found")
        return collection[id]

    # --- how they are asked for ---

    def answer(self, method: str, target: str, key: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers; a body that is no dict is sent as it is."""
        path = unquote(urlsplit(target).path)
        if path.startswith("/proxy/"):
            pod_id, _, inner = path.removeprefix("/proxy/").partition("/")
            return self._proxy(pod_id, inner, key)
        found = next(filter(None, (_match(name, method, path) for name in OPERATIONS)), None)
        if found is None:
            self.violations.append(f"{method} {path} is not in the contract")
            return 404, _problem(404, "no such operation"), {}
        operation, parts = found
        with self._lock:
            self.calls[operation] += 1
            fault = next((fault for fault in self.faults if fault.operation == operation and fault.times > 0), None)
            if fault:
                fault.times -= 1
                self._effect(fault, operation, body, parts)
                if not fault.status:
                    raise ConnectionAbortedError
                return fault.status, PAGE if fault.page else _problem(fault.status, fault.detail), fault.headers
            if key != f"Bearer {KEY}":
                return 401, _problem(401, "invalid api key"), {}
            status, answer = self._carry_out(operation, body, parts)
            return status, self._page(operation, answer, target), {}

    def _effect(self, fault: Fault, operation: str, body: Any, parts: dict[str, str]) -> None:
        """What a request does whose answer is a fault."""
        if fault.done:
            self._carry_out(operation, body, parts)

    def _carry_out(self, operation: str, body: Any, parts: dict[str, str]) -> tuple[int, Any]:
        try:
            self._check_body(operation, body)
            answer = getattr(self, operation)(body, **parts)
            status = 201 if operation.startswith("create") else 204 if answer is None else 200
        except Refusal as refusal:
            status, answer = refusal.status, _problem(refusal.status, refusal.detail, refusal.errors)
        shown = json.loads(json.dumps(answer, default=str), object_hook=_without_private) if answer else answer
        if self.document:
            self.violations += self.document.faults_of_answer(operation, status, shown)
        if status < 300 and isinstance(shown, dict) and (missing := OPERATIONS[operation].answer - set(shown)):
            self.violations.append(f"{operation} answers without {sorted(missing)}")
        return status, shown

    def _check_body(self, operation: str, body: Any) -> None:
        known = OPERATIONS[operation]
        faults = [f"$: additional property {name!r} not allowed" for name in sorted(set(body or {}) - known.body)]
        faults += [f"$: missing property {name!r}" for name in sorted(known.required - set(body or {}))]
        if self.document and body is not None:
            faults += self.document.faults_of_body(operation, body)
        if faults:
            self.violations += [f"{operation}: {fault}" for fault in faults]
            raise Refusal(422, "Request validation failed.", tuple(faults))

    def _page(self, operation: str, answer: Any, target: str) -> Any:
        """Lists come in pages where the test asks for that, which the document does not know."""
        if not (self.page_size or self.cursors) or not operation.startswith("list") or "records" in answer:
            return answer
        (name, items), *_ = answer.items()
        if self.cursors:
            return {name: items, "pagination": {"nextCursor": str(next(self.cursors)), "hasNextPage": True}}
        start = int(dict(parse_qsl(urlsplit(target).query)).get("cursor", 0))
        end = start + self.page_size
        following = str(end) if end < len(items) else None
        return {
            name: items[start:end],
            "pagination": {"nextCursor": following, "hasNextPage": bool(following)},
        }

    def _proxy(self, pod_id: str, inner: str, key: str) -> tuple[int, Any, dict[str, str]]:
        pod = self.pods.get(pod_id)
        if not pod or not pod["runtime"]:
            return 502, "Bad gateway", {}
        status, answer = self.token_answers(key.removeprefix("Bearer "))
        return status, answer, {"Content-Type": "application/json", "Retry-After": "5"} if status == 503 else {}


def _handler(fake: FakeRunPod) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are written one after the other

        def _do(self) -> None:
            if self.headers.get("User-Agent", "").startswith("Python-urllib"):
                return self._send(403, PAGE, {})
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                answer = fake.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            except ConnectionAbortedError:
                self.close_connection = True
                return None
            return self._send(*answer)

        do_GET = do_POST = do_PATCH = do_DELETE = _do

        def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
            if isinstance(answer, list):  # a log
                kind = "text/event-stream"
                told = [line if isinstance(line, dict) else {"line": line} for line in answer]
                events = [f"id: {n}\ndata: {json.dumps(line)}\n\n" for n, line in enumerate(told)]
                payload = "".join(events).encode()
                if fake.endless:
                    self._stream(status, kind, payload)
                    return
            else:
                kind = "application/json" if status < 300 else "application/problem+json"
                kind = "text/html" if isinstance(answer, str) else kind
                payload = b"" if answer is None else answer.encode() if isinstance(answer, str) else _dump(answer)
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(payload)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def _stream(self, status: int, kind: str, payload: bytes) -> None:
            """As RunPod sends a log: it is held open, and has no length."""
            self.close_connection = True
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            try:
                self.wfile.write(payload)
                for piece in fake.endless():
                    self.wfile.write(piece)
            except OSError:  # whoever listened has gone
                pass

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _match(operation: str, method: str, path: str) -> tuple[str, dict[str, str]] | None:
    known = OPERATIONS[operation]
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", known.path)
    found = re.fullmatch(pattern, path)
    return (operation, found.groupdict()) if found and known.method == method else None


def _problem(status: int, detail: str, errors: tuple[str, ...] = ()) -> dict:
    problem = {"title": "Problem", "status": status, "detail": detail}
    return problem | ({"errors": list(errors)} if errors else {})


def _dump(answer: Any) -> bytes:
    return json.dumps(answer).encode()


def _without_private(entry: dict) -> dict:
    return {name: value for name, value in entry.items() if not name.startswith("_")}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
