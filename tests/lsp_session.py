"""A small client of the Language Server Protocol: a real session over standard input and output."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

TIMEOUT = 60.0


class Refused(Exception):  # noqa: N818 - what the tests say of it
    """The server's error in answer to a request."""


class Session:
    """A running `resnetc lsp` with one folder open. `encoding` is what the client offers."""

    def __init__(self, root: Path, encoding: str = "utf-16") -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "resnetc", "lsp", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._ids = iter(range(1, 1_000_000))
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._published: queue.Queue[dict[str, Any]] = queue.Queue()
        self._asked: queue.Queue[str] = queue.Queue()
        self.logged: list[str] = []
        self._versions: dict[str, int] = {}
        threading.Thread(target=self._read, daemon=True).start()
        folder = {"uri": root.as_uri(), "name": root.name}
        capabilities = {
            "general": {"positionEncodings": [encoding]},
            "workspace": {"inlayHint": {"refreshSupport": True}},
        }
        about = {"processId": None, "rootUri": root.as_uri(), "workspaceFolders": [folder]}
        answer = self.request("initialize", {**about, "capabilities": capabilities})
        self.capabilities = answer["capabilities"]
        self.notify("initialized", {})

    # ---- messages

    def _read(self) -> None:
        out = self.process.stdout
        assert out is not None
        while True:
            length = 0
            while (line := out.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if not length:
                return
            message = json.loads(out.read(length))
            if "method" not in message:
                self._answers.put(message)
            elif "id" in message:
                self._asked.put(message["method"])
                self._send({"id": message["id"], "result": None})
            elif message["method"] == "textDocument/publishDiagnostics":
                self._published.put(message["params"])
            elif message["method"] == "window/logMessage":
                self.logged.append(message["params"]["message"])

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: Any) -> Any:
        """The result of a request; raises Refused for an error."""
        number = next(self._ids)
        self._send({"id": number, "method": method, "params": params})
        answer = self._wait(self._answers)
        assert answer["id"] == number
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return answer["result"]

    def _wait(self, messages: queue.Queue[dict[str, Any]]) -> dict[str, Any]:
        for _ in range(int(TIMEOUT / 0.2)):
            try:
                return messages.get(timeout=0.2)
            except queue.Empty:
                assert self.process.poll() is None, self.process.communicate()[1].decode()
        raise TimeoutError

    # ---- documents

    def uri(self, name: str) -> str:
        return (self.root / name).as_uri()

    def open(self, name: str, text: str) -> None:
        self._versions[name] = 1
        about = {"uri": self.uri(name), "languageId": "rnet", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": about})

    def change(self, name: str, text: str) -> None:
        self._versions[name] += 1
        about = {"uri": self.uri(name), "version": self._versions[name]}
        changes = [{"text": text}]
        params = {"textDocument": about, "contentChanges": changes}
        self.notify("textDocument/didChange", params)

    def shut(self, name: str) -> None:
        """Close a document, as an editor closes its tab."""
        self.notify("textDocument/didClose", {"textDocument": {"uri": self.uri(name)}})

    def diagnostics(self, name: str) -> list[dict[str, Any]]:
        """The next diagnostics that the server shows in a file."""
        return self.published(self.uri(name))

    def published(self, uri: str) -> list[dict[str, Any]]:
        """The next diagnostics that the server shows at an address."""
        while True:
            shown = self._wait(self._published)
            if shown["uri"] == uri:
                found: list[dict[str, Any]] = shown["diagnostics"]
                return found

    def asked(self) -> str:
        """The next request that the server makes of its client."""
        return self._asked.get(timeout=TIMEOUT)

    def silent(self) -> bool:
        """Whether nothing has been published that has not been looked at."""
        return self._published.empty()

    def ask(self, method: str, name: str, **params: Any) -> Any:
        """A request about a document."""
        return self.request(
            f"textDocument/{method}", {"textDocument": {"uri": self.uri(name)}, **params}
        )

    def close(self) -> int:
        """End the session as the protocol asks; returns the exit code."""
        self.request("shutdown", None)
        self.notify("exit", None)
        assert self.process.stdin is not None
        code = self.process.wait(timeout=TIMEOUT)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code


def position(text: str, mark: str, skip: int = 0) -> dict[str, int]:
    """Where a piece of a text begins, as the protocol counts in ASCII texts."""
    offset = -1
    for _ in range(skip + 1):
        offset = text.index(mark, offset + 1)
    return {
        "line": text.count("\n", 0, offset),
        "character": offset - text.rfind("\n", 0, offset) - 1,
    }


def apply(text: str, edits: list[dict[str, Any]]) -> str:
    """An ASCII text with the protocol's edits made."""
    lines = [0]
    for line in text.split("\n"):
        lines.append(lines[-1] + len(line) + 1)

    def offset(place: dict[str, int]) -> int:
        return min(lines[place["line"]] + place["character"], len(text))

    order = sorted(edits, key=lambda e: offset(e["range"]["start"]), reverse=True)
    for edit in order:
        start, end = offset(edit["range"]["start"]), offset(edit["range"]["end"])
        text = text[:start] + edit["newText"] + text[end:]
    return text
