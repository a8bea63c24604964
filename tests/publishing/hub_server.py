"""A stand-in for the Hub on loopback: repositories in memory, and the few calls that publishing makes. Speaks plain LFS, not Xet."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose `METHOD /path` matches `request`."""

    request: str
    what: int | str
    """An HTTP status; `reset`, in place of an answer; `lost`, after all was done; `portal`, a web page; `silent`."""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """`repositories[name]` is {path: bytes}; `commits[name]` counts, and `messages` has what they said; `private` holds the names made
    so; `faults` are still to come, and `asked` has every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, int] = {}
        self.private: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.messages: list[str] = []
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def head(self, name: str) -> str:
        return hashlib.sha1(f"{name}{self.commits[name]}".encode()).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *words: Any) -> None:
        """Nothing is printed."""

    def answer(self, status: int, values: Any = None, body: bytes | None = None, **headers: str) -> None:
        content = json.dumps(values).encode() if body is None else body
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_HEAD(self) -> None:
        self.faulty(self.get)

    def do_GET(self) -> None:
        self.faulty(self.get)

    def do_PUT(self) -> None:
        self.faulty(self.put)

    def do_POST(self) -> None:
        self.faulty(self.post)

    def faulty(self, act: Callable[[], None]) -> None:
        """Do what is asked, unless a fault is due."""
        asked = f"{self.command} {self.path}"
        self.server.asked.append(asked)
        fault = next((one for one in self.server.faults if one.times and re.search(one.request, asked)), None)
        if fault is None:
            return act()
        fault.times -= 1
        if fault.what == "lost":
            kept, self.wfile = self.wfile, io.BytesIO()
            act()
            self.wfile = kept
        elif fault.what != "silent":
            self.body()
        if isinstance(fault.what, int):
            return self.answer(fault.what, {"error": "a fault"}, **fault.headers)
        if fault.what == "portal":
            return self.answer(200, body=b"<html>Log in to the hotel's network</html>", Content_Type="text/html")
        if fault.what == "silent":
            time.sleep(30)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        self.connection.close()
        self.close_connection = True

    def get(self) -> None:
        hub = self.server
        if match := re.match(r"/api/models/([\w-]+/[\w-]+)(\?.*)?$", self.path):
            name = match[1]
            if name not in hub.repositories:
                return self.answer(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
            siblings = [
                {
                    "rfilename": path,
                    "size": len(data),
                    "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1},
                }
                if path.endswith(".safetensors")
                else {"rfilename": path, "size": len(data), "blobId": git_sha1(data)}
                for path, data in hub.repositories[name].items()
            ]
            return self.answer(200, {"id": name, "modelId": name, "sha": hub.head(name), "siblings": siblings, "private": True})
        match = re.match(r"/([\w-]+/[\w-]+)/resolve/[^/]+/(.+)$", self.path)
        data = hub.repositories.get(match[1], {}).get(match[2]) if match else None
        if match is None or data is None:
            return self.answer(404, {"error": "no entry"}, X_Error_Code="EntryNotFound")
        tag = git_sha1(data)
        return self.answer(200, body=data, ETag=f'"{tag}"', X_Repo_Commit=hub.head(match[1]))

    def put(self) -> None:
        self.server.blobs[self.path.rpartition("/")[2]] = self.body()
        self.answer(200, {})

    def post(self) -> None:
        hub, body = self.server, self.body()
        hub.tokens.add(self.headers.get("Authorization"))
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            values = json.loads(body)
            name = f"{values.get('organization') or 'me'}/{values['name']}"
            if name in hub.repositories:
                return self.answer(409, {"url": f"{hub.address}/{name}"})
            hub.repositories[name], hub.commits[name] = {}, 0
            if values.get("private") or values.get("visibility") == "private":
                hub.private.add(name)
            return self.answer(200, {"url": f"{hub.address}/{name}"})
        if match := re.match(r"/api/models/[\w-]+/[\w-]+/preupload/", self.path):
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": modes})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {"oid": one["oid"], "size": one["size"], "actions": {"upload": {"href": f"{hub.address}/blob/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if match := re.match(r"/api/models/([\w-]+/[\w-]+)/commit/", self.path):
            return self.commit(match[1], [json.loads(line) for line in body.splitlines()])
        return self.answer(404, {"error": self.path})

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        hub = self.server
        if lines[0]["value"].get("parentCommit") != hub.head(name):
            return self.answer(412, {"error": "the head has moved"})
        for line in lines[1:]:
            value = line["value"]
            data = hub.blobs[value["oid"]] if line["key"] == "lfsFile" else base64.b64decode(value["content"])
            hub.repositories[name][value["path"]] = data
        hub.commits[name] += 1
        hub.messages.append(json.dumps(lines[0]["value"]))
        return self.answer(200, {"commitUrl": f"{hub.address}/{name}/commit/{hub.head(name)}", "commitOid": hub.head(name)})
