"""The cluster that this folder runs in: `kubernetes up` records it, so that nothing later reaches another one."""

import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Self

from labelpod import files, process
from labelpod.config.settings import Settings
from labelpod.console import say_command
from labelpod.errors import DeployError
from labelpod.project import Project

_SECONDS, _FORWARD_SECONDS = 120, 30
_LOOK = "kubectl cluster-info; kubectl get pods shows what runs"


@dataclass(frozen=True)
class Cluster:
    """A namespace in a cluster.

    Args:
        context: kubectl's name of the cluster.
        namespace: name of the namespace.
        uid: the namespace's own number, "" if it is not known; other clusters may have a context of the same name.
        users: digest of the users that this folder brought there last, "" for none.

    """

    context: str
    namespace: str
    uid: str = ""
    users: str = ""

    @classmethod
    def current(cls, settings: Settings) -> Self:
        """The one that kubectl is set to.

        Raises:
            DeployError: it is set to none, or not installed.

        """
        return cls(_kubectl("config", "current-context").strip(), settings.KUBERNETES_NAMESPACE)

    @classmethod
    def recorded(cls, project: Project) -> Self | None:
        """The one that this folder was started in, None if it was in none.

        Raises:
            DeployError: the record cannot be read.

        """
        record = project.cluster_record
        try:
            return cls(**json.loads(record.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            raise DeployError(
                f"{record.name} cannot be read, and says in which cluster this folder runs",
                f"delete {record.name}; `python3 deploy.py kubernetes up` writes it",
            ) from None

    def __str__(self) -> str:
        return f"namespace {self.namespace} of the cluster {self.context}"

    def checked(self, project: Project, seconds: float = _SECONDS) -> Self:
        """The same, if kubectl reaches this very namespace.

        Raises:
            DeployError: it does not in time, or reaches another one.

        """
        if self._uid(seconds) != self.uid:
            record = project.cluster_record.name
            raise DeployError(
                f"{self} is not the one that `kubernetes up` started this folder in",
                f"set KUBECONFIG to that cluster's file; if it is gone for good, delete {record}",
            )
        return self

    def record(self, project: Project, users: str = "") -> None:
        """Remember it, once the namespace is there, and what users it was given."""
        text = json.dumps(asdict(replace(self, uid=self._uid(), users=users or self.users)), indent=2)
        files.write(project.cluster_record, f"{text}\n".encode(), 0o644)

    def ask(self, *words: str, given: str | None = None, seconds: float = _SECONDS) -> str:
        """What kubectl answers there.

        Raises:
            DeployError: it is missing, or fails; with its own reason.

        """
        return _kubectl(*self.command(*words), given=given, seconds=seconds)

    def change(self, *words: str, seconds: float = _SECONDS) -> None:
        """Show a command that changes something there, and run it.

        Raises:
            DeployError: it fails.

        """
        say_command(shlex.join(("kubectl", *self.command(*words))))
        self.ask(*words, seconds=seconds)

    @contextmanager
    def forwarded(self, place: str, port: int) -> Iterator[int]:
        """A port of this machine that leads to one of a Service there.

        Raises:
            DeployError: kubectl does not lead there within 30 seconds.

        """
        command = ("kubectl", *self.command("port-forward", place, f":{port}"))
        say_command(shlex.join(command))
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except OSError:
            raise _missing() from None
        with process:
            late = threading.Timer(_FORWARD_SECONDS, process.kill)
            late.start()
            try:
                said = process.stdout.readline() if process.stdout else ""
                late.cancel()
                found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", said)
                if not found:
                    reason = said.strip() or f"no answer within {_FORWARD_SECONDS} s"
                    raise DeployError(f"kubectl port-forward: {reason}", _LOOK)
                yield int(found[1])
            finally:
                late.cancel()
                process.kill()

    def command(self, *words: str) -> tuple[str, ...]:
        """The same words for this namespace, whatever kubectl is set to."""
        return *words, "--context", self.context, "--namespace", self.namespace

    def exec_prefix(self) -> list[str]:
        """Command prefix that runs a program in one of the label servers."""
        return ["kubectl", *self.command("exec", "deployment/label-server"), "--"]

    def _uid(self, seconds: float = _SECONDS) -> str:
        asked = ("get", "namespace", self.namespace, "--ignore-not-found", "--output", "jsonpath={.metadata.uid}")
        return self.ask(*asked, seconds=seconds)


def _kubectl(*words: str, given: str | None = None, seconds: float = _SECONDS) -> str:
    answer = process.run("kubectl", *words, seconds=seconds, input=given)
    if answer.returncode == 127:
        raise _missing()
    if answer.returncode != 0:
        reason = re.sub(r"^error: ", "", process.why(answer))
        raise DeployError(f"kubectl {words[0]}: {reason}", _LOOK)
    return answer.stdout


def _missing() -> DeployError:
    return DeployError("kubectl is not installed", "install it: https://kubernetes.io/docs/tasks/tools/")
