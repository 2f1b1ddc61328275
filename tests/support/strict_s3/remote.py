"""The layer in a process of its own, for tests whose servers are processes too; asked and told without a loop."""

from __future__ import annotations

import dataclasses
import http.client
import json
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.support.process import REPOSITORY
from tests.support.strict_s3.faults import Fault, Hold, Stage
from tests.support.strict_s3.plan import ANY, Logged
from trial.gateways import Bucket
from trial.processes import Child, free_port, listens

ANSWER_SECONDS: Final = 60


@dataclass(frozen=True)
class RemotePlanned:
    strict: StrictProcess
    number: int

    @property
    def hits(self) -> int:
        """Calls that met the fault."""
        hits: int = self.strict.ask("state")["planned"][self.number]["hits"]
        return hits


class RemoteHold(RemotePlanned):
    """As `Hold`."""

    def reached(self, seconds: float = 30) -> None:
        """Raises:
        AssertionError: no call came in time.
        """
        self.strict.ask("reached", planned=self.number, seconds=seconds)

    def release(self) -> None:
        self.strict.ask("release", planned=self.number)

    def done(self, seconds: float = 30) -> int:
        """The status of the call; 0: cut."""
        status: int = self.strict.ask("done", planned=self.number, seconds=seconds)
        return status


class StrictProcess:
    """One layer in front of one bucket, whose port outlives its restarts; its multipart uploads do not."""

    def __init__(self, upstream: Bucket, folder: Path) -> None:
        self.port = free_port()
        self.bucket = dataclasses.replace(upstream, endpoint_url=f"http://127.0.0.1:{self.port}")
        self.log_path = folder / "strict-s3.log"
        self._upstream = upstream
        self._control_port = free_port()
        self._child: Child | None = None

    def start(self) -> Self:
        command = [sys.executable, "-m", "tests.support.strict_s3", "--upstream", self._upstream.endpoint_url]
        ports = ["--port", str(self.port), "--control-port", str(self._control_port)]
        child = Child([*command, "--bucket", self._upstream.name, *ports], self.log_path, folder=REPOSITORY)
        self._child = child.wait_until(lambda: listens(self._control_port))
        return self

    def stop(self) -> None:
        """End it; does nothing when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    @property
    def calls(self) -> Counter[str]:
        return Counter(self.ask("state")["calls"])

    @property
    def log(self) -> list[Logged]:
        return [Logged(**row) for row in self.ask("state")["log"]]

    @property
    def under_way(self) -> int:
        count: int = self.ask("state")["under_way"]
        return count

    def fail(
        self, operation: str = ANY, *, with_: Fault, nth: int = 1, times: int | None = 1, key_prefix: str = ""
    ) -> RemotePlanned:
        return RemotePlanned(self, self._plan(operation, with_, nth, times, key_prefix))

    def hold(self, operation: str, *, nth: int = 1, key_prefix: str = "", stage: Stage = "before_apply") -> RemoteHold:
        return RemoteHold(self, self._plan(operation, Hold(stage), nth, 1, key_prefix))

    def called(self, operation: str, count: int = 1, seconds: float = 30) -> None:
        """So many calls have come, from the beginning."""
        self.ask("called", operation=operation, count=count, seconds=seconds)

    def heal(self) -> None:
        self.ask("heal")

    def reap(self) -> None:
        """All multipart uploads are gone (S10)."""
        self.ask("reap")

    def expire_multiparts_after(self, days: int) -> None:
        self.ask("expire_multiparts_after", days=days)

    def rules(self, **changes: object) -> None:
        """Change `Rules` by name."""
        self.ask("rules", **changes)

    def ask(self, verb: str, **words: object) -> Any:
        """Raises:
        AssertionError: the layer could not.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._control_port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", f"/{verb}", json.dumps(words), {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise AssertionError(f"{verb}: {answer['error']}")
        return answer

    def _plan(self, operation: str, fault: Fault, nth: int, times: int | None, key_prefix: str) -> int:
        fields = {
            field.name: getattr(fault, field.name)
            for field in dataclasses.fields(fault)  # type: ignore[arg-type]  # each kind of fault is a dataclass
            if field.init
        }
        fields = {name: list(value) if isinstance(value, set) else value for name, value in fields.items()}
        described = {"name": type(fault).__name__, **fields}
        number: int = self.ask(
            "fail", operation=operation, nth=nth, times=times, key_prefix=key_prefix, fault=described
        )
        return number

    def _end(self, number: signal.Signals) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            child.end(number)
