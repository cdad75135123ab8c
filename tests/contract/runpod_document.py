"""RunPod's OpenAPI document, which is not part of the project: what it says against a request or an answer."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.support.paths import DATA

FILE = DATA / "runpod" / "openapi-v2.json"


class Document:
    """The document of 2026-08-18."""

    def __init__(self, file: Path = FILE) -> None:
        self.raw = json.loads(file.read_text(encoding="utf-8"))
        resource = Resource.from_contents(self.raw, default_specification=DRAFT202012)
        self._registry: Registry = Registry().with_resource("urn:runpod", resource)
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in self.raw["paths"].items()
            for method, operation in methods.items()
            if isinstance(operation, dict) and "operationId" in operation
        }

    def faults_of_body(self, operation: str, body: Any) -> list[str]:
        """What is wrong with a request's body."""
        method, path, _ = self.operations[operation]
        return self._faults(f"/paths/{_pointer(path)}/{method.lower()}/requestBody/content/application~1json", body)

    def fields_of_body(self, operation: str) -> tuple[set[str], set[str]]:
        """The fields that a request may have, and those that it must have."""
        body = self.operations[operation][2]["requestBody"]["content"]["application/json"]["schema"]
        return self._fields(body)

    def _fields(self, schema: dict[str, Any]) -> tuple[set[str], set[str]]:
        if "$ref" in schema:
            return self._fields(self._at(schema["$ref"].removeprefix("#")))
        names, required = set(schema.get("properties", {})), set(schema.get("required", []))
        for part in schema.get("allOf", []):
            more, must = self._fields(part)
            names, required = names | more, required | must
        return names, required

    def faults_of_answer(self, operation: str, status: int, answer: Any) -> list[str]:
        """What is wrong with an answer's body; pages and logs are not looked at."""
        method, path, described = self.operations[operation]
        if answer is None or isinstance(answer, list):
            return []
        code = str(status) if str(status) in described["responses"] else "default"
        response = described["responses"][code]
        at = f"/paths/{_pointer(path)}/{method.lower()}/responses/{code}"
        while "$ref" in response:
            at = response["$ref"].removeprefix("#")
            response = self._at(at)
        kinds = response.get("content", {})
        kind = next((kind for kind in kinds if kind.endswith("json")), None)
        if kind is None:
            return []
        return [f"{operation} {status}: {fault}" for fault in self._faults(f"{at}/content/{_pointer(kind)}", answer)]

    def _at(self, pointer: str) -> Any:
        found = self.raw
        for part in pointer.strip("/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return found

    def _faults(self, pointer: str, instance: Any) -> list[str]:
        schema = {"$ref": f"urn:runpod#{pointer.replace('{', '%7B').replace('}', '%7D')}/schema"}
        validator = Draft202012Validator(schema, registry=self._registry)
        return [f"{fault.json_path}: {fault.message[:200]}" for fault in validator.iter_errors(instance)]


def _pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
