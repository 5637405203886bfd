"""A hub of one's own on loopback: as much of Hugging Face's as its client asks for to send and to fetch."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

SHA = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_loopback"


@dataclass
class Hub:
    """What the hub holds.

    Args:
        url: its address.
        files: (repository, path) -> bytes.
        private: repository -> whether it is.
        blobs: large files by their sums, sent before the commit that names them.
    """

    url: str = ""
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def of(self, repo: str) -> dict[str, bytes]:
        """The files of a repository."""
        return {path: content for (name, path), content in self.files.items() if name == repo}

    def variables(self, home: Path) -> dict[str, str]:
        """What makes the client use this hub, as a user of it, with nothing of other places."""
        return {
            "HF_ENDPOINT": self.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def loopback_hub() -> Iterator[Hub]:
    """The hub, as long as the block lasts."""
    hub = Hub()

    class Handler(_Handler):
        held = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield hub
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    held: Hub

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, content: object, code: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def refused(self) -> bool:
        """Whoever sends needs a token."""
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return False
        self.reply({"error": "Invalid username or password."}, 401)
        return True

    def do_POST(self) -> None:
        path, data = self.path.split("?")[0], self.body()
        if self.refused():
            return
        words = path.strip("/").split("/")
        if path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.create(json.loads(data))
        elif path.startswith("/api/models/") and "preupload" in words:
            files = [
                {"path": file["path"], "shouldIgnore": False,
                 "uploadMode": "regular" if file["path"].endswith((".json", ".md")) else "lfs"}
                for file in json.loads(data)["files"]
            ]
            self.reply({"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                item | {"actions": {"upload": {"href": f"{self.held.url}/blobs/{item['oid']}", "header": {}}}}
                for item in json.loads(data)["objects"]
            ]
            self.reply({"transfer": "basic", "objects": objects})
        elif path.startswith("/api/models/") and "commit" in words:
            self.commit("/".join(words[2:4]), data)
        else:
            self.reply({"error": f"no {path}"}, 404)

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        known = name in self.held.private
        self.held.private.setdefault(name, asked.get("visibility") == "private" or bool(asked.get("private")))
        self.reply({"url": f"{self.held.url}/{name}", "name": name}, 409 if known else 200)

    def commit(self, repo: str, data: bytes) -> None:
        for line in map(json.loads, data.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.held.files[repo, value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.held.files[repo, value["path"]] = self.held.blobs[value["oid"]]
        self.reply({"success": True, "commitOid": SHA, "commitUrl": f"{self.held.url}/{repo}/commit/{SHA}"})

    def do_PUT(self) -> None:
        data = self.body()
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == oid
        self.held.blobs[oid] = data
        self.reply(b"")

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        words = path.strip("/").split("/")
        if words[:2] == ["api", "models"]:
            self.info("/".join(words[2:4]), words[4:])
            return
        repo, content = "/".join(words[:2]), None
        if words[2:3] == ["resolve"]:
            content = self.held.files.get((repo, "/".join(words[4:])))
        if content is None:
            self.reply({"error": "not found"}, 404, X_Error_Code="EntryNotFound")
            return
        etag = hashlib.sha256(content).hexdigest()
        self.reply(content, ETag=f'"{etag}"', X_Repo_Commit=SHA, X_Linked_Size=str(len(content)))

    do_HEAD = do_GET

    def info(self, repo: str, rest: list[str]) -> None:
        files = self.held.of(repo)
        if not files:
            self.reply({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif rest[:1] == ["tree"]:
            self.reply([{"type": "file", "path": p, "size": len(c), "oid": SHA} for p, c in files.items()])
        else:
            siblings = [{"rfilename": name} for name in files]
            self.reply({"id": repo, "sha": SHA, "private": self.held.private.get(repo, False),
                        "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})
