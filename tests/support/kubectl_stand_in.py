"""A folder with settings and secrets, and a kubectl that notes what it is told; a script stands in for it."""

import base64
import json
import shlex
from pathlib import Path

import pytest

from labelpod import cli
from labelpod.config.settings import PREFIX
from labelpod.project import Project
from tests.support.kubernetes import SEVERAL
from tests.support.paths import ROOT

# A Secret has another version whenever it is made of other files; a Deployment keeps what is written on it.
STAND_IN = """#!/bin/bash
printf -v line '%q ' "$@"
echo "$line" >>"$KUBECTL_LOG"
case "$1 $*" in
  *"$KUBECTL_FAILS"*) echo "error: the server does not let you" >&2; exit 1 ;;
  config*) cat "$KUBECTL_CONTEXT" ;;
  *"get namespace"*part-of*) cat "$KUBECTL_LOG.label" 2>/dev/null || true ;;
  *"get namespace"*) cat "$KUBECTL_UID" ;;
  *"get pods"*) cat "$KUBECTL_LOG.pods" 2>/dev/null || true ;;
  *"get persistentvolumeclaim"*annotations*) cat "$KUBECTL_LOG.database" 2>/dev/null || true ;;
  *"get persistentvolumeclaim"*) cat "$KUBECTL_LOG.claim.$3" 2>/dev/null || true ;;
  create*)
    printf '%s\\n' "$@" | sed -n 's/^--from-file=[^=]*=//p' | xargs cat | cksum | cut -d' ' -f1 >"$KUBECTL_LOG.made"
    echo "$4" >"$KUBECTL_LOG.name"
    printf '%s\\n' "$@" | sed -n 's/^--from-file=users.json=//p' | xargs base64 -w0 >"$KUBECTL_LOG.made.$4"
    cat "$KUBECTL_SECRET" ;;
  port-forward*) echo "Forwarding from 127.0.0.1:$KUBECTL_PORT -> 8000"; exec sleep 60 ;;
  *"--filename -"*)
    cat >>"$KUBECTL_LOG.given"
    cp "$KUBECTL_LOG.made" "$KUBECTL_LOG.secret.$(cat "$KUBECTL_LOG.name")"
    [[ $(cat "$KUBECTL_LOG.name") != users ]] || cp "$KUBECTL_LOG.made.users" "$KUBECTL_LOG.users.there" ;;
  *"--dry-run=client --output name"*) cat "$KUBECTL_LOG.rendered" 2>/dev/null || true ;;
  *"get httproutes"*)
    cat "$KUBECTL_LOG.routes" 2>/dev/null || { echo "error: the server has no such resource type" >&2; exit 1; } ;;
  *"get deployments,"*"--output name"*) cat "$KUBECTL_LOG.names" 2>/dev/null || true ;;
  *"get secret"*resourceVersion*) cat "$KUBECTL_LOG.secret.$3" 2>/dev/null || echo 1 ;;
  *"get secret"*"{.data."*) cat "$KUBECTL_LOG.$3.there" 2>/dev/null || true ;;
  *"get deployment/"*annotations*) cat "$KUBECTL_LOG.${2#*/}.read" 2>/dev/null || true ;;
  *"annotate deployment/"*) echo "${3#*=}" >"$KUBECTL_LOG.${2#*/}.read" ;;
  get*|exec*) cat "$KUBECTL_ANSWER" ;;
esac
"""


class Cluster:
    """A folder with settings and secrets, and a kubectl that notes what it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.log, self._patch = Project(folder), folder / "log", monkeypatch
        for name in ("templates", "images"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "secrets" / "users").mkdir(parents=True)
        for name in ("orthanc_users.json", "label_deletion", "dicomweb_password", "label_key"):
            (folder / "secrets" / name).write_text("hunter2")
        (folder / "secrets" / "users" / "users.json").write_text('{"users": []}')
        for name in ("orthanc_postgres.json", "postgres_password"):
            (folder / "secrets" / name).write_text("hunter2")
        (folder / "bin").mkdir()
        (folder / "bin" / "kubectl").write_text(STAND_IN)
        (folder / "bin" / "kubectl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        self.answer = folder / "answer"
        self.context, self.uid = folder / "context", folder / "uid"
        self.context.write_text("hospital\n")
        self.uid.write_text("7f00")
        (folder / "secret").write_text("kind: Secret")
        for name in ("log", "answer", "secret", "context", "uid"):
            monkeypatch.setenv(f"KUBECTL_{name.upper()}", str(folder / name))
        self.fails("none of these words")
        self.is_set(SEVERAL)

    def is_set(self, values: dict[str, str]) -> None:
        self.project.env_file.write_text("".join(f"{PREFIX}{name}={value}\n" for name, value in values.items()))

    def notes(self, what: str, value: str) -> None:
        """What else is there: `label` of the namespace, `pods`, `database` of the images, `claim.NAME`."""
        self.log.with_name(f"log.{what}").write_text(value)

    def has(self, secret: str, value: str) -> None:
        """What one of the values is that a Secret of another folder has."""
        self.log.with_name(f"log.{secret}.there").write_bytes(base64.b64encode(value.encode()))

    def holds(self, *names: str, routes: tuple[str, ...] | None = None) -> None:
        """What runs there; it knows of Gateways only if there are `routes`."""
        self.log.with_name("log.names").write_text("\n".join(names) + "\n")
        if routes is not None:
            self.log.with_name("log.routes").write_text("\n".join(routes) + "\n")

    def wants(self, *names: str) -> None:
        """What the rendered folder holds, as kubectl names it."""
        self.log.with_name("log.rendered").write_text("\n".join(names) + "\n")

    @property
    def deleted(self) -> list[str]:
        """What was deleted, in the order in which it was."""
        commands = [words[1 : words.index("--ignore-not-found")] for words in self.commands if words[0] == "delete"]
        return [name for each in commands for name in each]

    @property
    def restarted(self) -> list[str]:
        return [words.split()[2].partition("/")[2] for words in self.told if words.startswith("rollout restart")]

    def fails(self, words: str) -> None:
        self._patch.setenv("KUBECTL_FAILS", words)

    def run(self, *words: str) -> int:
        return self.does("kubernetes", *words)

    def does(self, *words: str) -> int:
        return cli.main([*words], self.project)

    def has_started(self) -> None:
        """`kubernetes up` was run, and what it told kubectl is forgotten."""
        assert self.run("up", "--yes") == 0
        self.log.unlink()
        self.log.with_name("log.given").unlink()

    @property
    def users(self) -> list[str]:
        """Without those whose tokens are made here."""
        known = json.loads((self.project.secrets / "users/users.json").read_text())["users"]
        return [each["name"] for each in known if each["name"] not in ("admin", "monitor")]

    @property
    def commands(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    @property
    def told(self) -> list[str]:
        return [" ".join(words) for words in self.commands]
