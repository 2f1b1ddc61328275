"""S3 gateways to try uploads on: `rclone serve s3` on a folder, and moto's server in memory."""

from __future__ import annotations

import http.client
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from trial.processes import Child, ServerTrouble, free_port

ACCESS_KEY_ID: Final = "tuspy"
SECRET_ACCESS_KEY: Final = "tuspy-secret"  # noqa: S105  # of servers on the loopback, for a trial
REGION: Final = "us-east-1"
ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Where and how a client reaches one bucket."""

    endpoint_url: str
    name: str
    region: str = REGION
    access_key_id: str = ACCESS_KEY_ID
    secret_access_key: str = SECRET_ACCESS_KEY

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, as every S3 client finds them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}


class Gateway:
    """An S3 server whose port outlives its restarts."""

    name: str

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        """`folder` is made if it is not there; it has the log, and the objects where they are files."""
        self.folder = folder.absolute()
        self.port = free_port() if port is None else port
        self.log_path = self.folder / f"{self.name}.log"
        self._child: Child | None = None

    @property
    def endpoint_url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process's."""
        return self._running().pid

    def start(self) -> Self:
        """Start, and wait until it answers.

        Raises:
            ServerTrouble: it does not.
        """
        if self._child is not None:
            raise ServerTrouble(f"{self.name} runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        child = Child(self._command(), self.log_path, environment=self._environment())
        self._child = child.wait_until(self._answers)
        return self

    def stop(self) -> None:
        """End it; does nothing when it does not run."""
        if self._child is not None:
            child, self._child = self._child, None
            child.end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        child, self._child = self._running(), None
        child.end(signal.SIGKILL)

    def make_bucket(self, name: str) -> Bucket:
        """A new and empty bucket; names have three characters or more."""
        raise NotImplementedError

    def bucket(self, name: str) -> Bucket:
        """What `make_bucket` has returned."""
        return Bucket(endpoint_url=self.endpoint_url, name=name)

    def _command(self) -> list[str | Path]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _running(self) -> Child:
        if self._child is None:
            raise ServerTrouble(f"{self.name} does not run")
        return self._child

    def _answers(self) -> bool:
        try:
            return self._request("GET", "/") > 0
        except OSError:
            return False

    def _request(self, method: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.endpoint_url).port, timeout=ANSWER_SECONDS)
        try:
            # moto reads who asks, and checks no signature.
            credential = f"{ACCESS_KEY_ID}/20260101/{REGION}/s3/aws4_request"
            connection.request(method, path, headers={"Authorization": f"AWS4-HMAC-SHA256 Credential={credential}"})
            return connection.getresponse().status
        finally:
            connection.close()


class Rclone(Gateway):
    """Objects are files of `objects/<bucket>/`. Multipart uploads and metadata are in memory, and end with it."""

    name = "rclone"

    def __init__(self, folder: Path, *, port: int | None = None, hashes_objects: bool = True) -> None:
        """`hashes_objects`: False where objects are so large that nobody waits for the MD5 it makes at each GET."""
        super().__init__(folder, port=port)
        self._hashes_objects = hashes_objects

    def make_bucket(self, name: str) -> Bucket:
        """A folder, which the gateway sees at once."""
        (self.folder / "objects" / name).mkdir(parents=True, exist_ok=True)
        return self.bucket(name)

    def _command(self) -> list[str | Path]:
        objects = self.folder / "objects"
        objects.mkdir(exist_ok=True)
        return [
            Path(sys.executable).parent / "rclone",
            "serve",
            "s3",
            f"--addr=127.0.0.1:{self.port}",
            f"--auth-key={ACCESS_KEY_ID},{SECRET_ACCESS_KEY}",
            f"--cache-dir={self.folder / 'cache'}",
            "--dir-cache-time=10ms",  # with 0 it cleans its cache in a busy loop, and calls wait for seconds
            # Parts come in any order, as S3 takes them: with these limits it lets one wait for the parts before it.
            "--multipart-streaming-buffer-limit=0",
            "--multipart-streaming-buffer-total=0",
            *(() if self._hashes_objects else ("--etag-hash=",)),
            "--config=",
            objects,
        ]


class Moto(Gateway):
    """Everything is in memory, and ends with it."""

    name = "moto"

    def make_bucket(self, name: str) -> Bucket:
        """By the server's own API.

        Raises:
            ServerTrouble: it refuses.
        """
        status = self._request("PUT", f"/{name}")
        if status != http.client.OK:
            raise ServerTrouble(f"moto answered {status} to a new bucket")
        return self.bucket(name)

    def _command(self) -> list[str | Path]:
        return [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def _environment(self) -> dict[str, str]:
        # It would look for a machine's identity and for the user's own configuration.
        return {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
