"""The API server of a Kubernetes cluster, on loopback: one kind of object, and the permissions of its manifests."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.sandbox.authority import Authority

MERGE_PATCH = "application/merge-patch+json"


@dataclass
class Cluster:
    """Deployments by namespace and name, and who may do what to them."""

    groups_of: Callable[[str], list[str] | None]  # by bearer token; None for a foreign one
    manifests: list[dict[str, Any]]
    deployments: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""
    authority: str = ""

    def add(self, namespace: str, name: str, created_at: str, *, paused: bool = False, **annotations: str) -> None:
        """Add a deployment; `annotations` are those of its pods."""
        self.deployments[namespace, name] = {
            "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created_at, "generation": 1},
            "spec": {
                "paused": paused,
                "template": {"metadata": {"labels": {"app": name}, "annotations": annotations}},
            },
        }

    def answer(self, method: str, path: str, token: str, patch: Any) -> tuple[int, Any]:  # noqa: ANN401 - any JSON
        """Return the status and the body of the answer to a request."""
        self.requests.append(f"{method} {path}")
        groups = self.groups_of(token)
        if groups is None:
            return HTTPStatus.UNAUTHORIZED, {"message": "Unauthorized"}
        match path.split("/"):
            case ["", "apis", "apps", "v1", "namespaces", namespace, "deployments", name]:
                pass
            case _:
                return HTTPStatus.NOT_FOUND, {"message": "the server could not find the requested resource"}
        if not self._may({"GET": "get", "PATCH": "patch"}[method], groups, namespace, name):
            return HTTPStatus.FORBIDDEN, {"message": f'deployments.apps "{name}" is forbidden'}
        deployment = self.deployments.get((namespace, name))
        if deployment is None:
            return HTTPStatus.NOT_FOUND, {"message": f'deployments.apps "{name}" not found'}
        if method == "PATCH":
            merged = merge(deployment, patch)
            merged["metadata"]["generation"] += merged["spec"] != deployment["spec"]
            self.deployments[namespace, name] = deployment = merged
        return HTTPStatus.OK, deployment

    def _may(self, verb: str, groups: list[str], namespace: str, name: str) -> bool:
        """Tell whether a role that is bound to one of the groups allows this."""
        here = [each for each in self.manifests if each["metadata"]["namespace"] == namespace]
        roles = {
            each["roleRef"]["name"]
            for each in here
            if each["kind"] == "RoleBinding"
            and any(subject["kind"] == "Group" and subject["name"] in groups for subject in each["subjects"])
        }
        return any(
            verb in rule["verbs"]
            and "apps" in rule["apiGroups"]
            and "deployments" in rule["resources"]
            and name in rule.get("resourceNames", [name])
            for each in here
            if each["kind"] == "Role" and each["metadata"]["name"] in roles
            for rule in each["rules"]
        )


def merge(target: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


@contextmanager
def cluster(manifests: Path, groups_of: Callable[[str], list[str] | None], folder: Path) -> Iterator[Cluster]:
    """Serve a cluster over TLS; `folder` is for its certificate."""
    documents = [each for each in yaml.safe_load_all(manifests.read_text("utf-8")) if each]
    authority = Authority("kubernetes")
    served = Cluster(groups_of, documents, authority=authority.pem)
    (certificate := folder / "api-server.pem").write_bytes(authority.server("127.0.0.1"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Type"] == MERGE_PATCH:
                self._answer(json.loads(body))
            else:
                self._send(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"message": "the body is in an unknown format"})

        def _answer(self, patch: object) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            self._send(*served.answer(self.command, self.path, token, patch))

        def _send(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    served.endpoint = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
