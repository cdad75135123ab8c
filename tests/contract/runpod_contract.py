"""What labelpod sends to RunPod and expects back, written by hand; a test compares it with RunPod's own document."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """One operation: how it is asked for, what its body may and must have, what a good answer has."""

    method: str
    path: str
    body: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    answer: frozenset[str] = frozenset()


_CONTAINER = {"image", "disk", "env", "ports", "registry"}
_TEMPLATE = _CONTAINER | {
    "name",
    "category",
    "public",
    "serverless",
    "startSsh",
    "startJupyter",
    "allowedCudaVersions",
}
_POD = {"name", "templateId", "cloud", "gpu", "env", "dataCenterIds", "mounts"}
_POD_ANSWER = frozenset(
    {"id", "name", "status", "actions", "env", "mounts", "cost", "locked", "runtime", "createdAt", "startedAt"}
)


def _fields(*names: str) -> frozenset[str]:
    return frozenset(names)


OPERATIONS = {
    "listTemplates": Operation("GET", "/v2/templates", answer=_fields("templates")),
    "createTemplate": Operation(
        "POST", "/v2/templates", frozenset(_TEMPLATE), _fields("name", "image"), _fields("id", "name", "image")
    ),
    "updateTemplate": Operation(
        "PATCH", "/v2/templates/{id}", frozenset(_TEMPLATE), answer=_fields("id", "name", "image")
    ),
    "listPods": Operation("GET", "/v2/pods", answer=_fields("pods")),
    "createPod": Operation("POST", "/v2/pods", frozenset(_POD), _fields("name"), _POD_ANSWER),
    "getPod": Operation("GET", "/v2/pods/{id}", answer=_POD_ANSWER),
    "deletePod": Operation("DELETE", "/v2/pods/{id}"),
    "podAction": Operation("POST", "/v2/pods/{id}/action", _fields("action"), _fields("action"), _POD_ANSWER),
    "getPodLogs": Operation("GET", "/v2/pods/{id}/logs"),
    "listGpuTypes": Operation("GET", "/v2/catalog/gpus", answer=_fields("gpus")),
    "listNetworkVolumes": Operation("GET", "/v2/network-volumes", answer=_fields("networkVolumes")),
    "createNetworkVolume": Operation(
        "POST",
        "/v2/network-volumes",
        _fields("name", "size", "dataCenter"),
        _fields("name", "size", "dataCenter"),
        _fields("id", "name", "size", "dataCenter"),
    ),
    "deleteNetworkVolume": Operation("DELETE", "/v2/network-volumes/{id}"),
    "listPodBilling": Operation("GET", "/v2/billing/pods", answer=_fields("records")),
    "listNetworkVolumeBilling": Operation("GET", "/v2/billing/network-volumes", answer=_fields("records")),
}
