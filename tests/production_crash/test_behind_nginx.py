"""Two nodes behind nginx as `deploy/nginx.conf` has it: clients never notice which of them answers, or dies."""

from __future__ import annotations

import os
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.clients import tus_js
from tests.production_crash.production import Node, Production
from tests.support.client import OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.nginx import Nginx
from tests.support.process import MEBIBYTE, REPOSITORY, wait_for
from tests.support.servers import MakeNginx

SEED: Final = int(os.environ.get("NGINX_SEED") or random.SystemRandom().randrange(2**32))
"""Of the kills; a failing run prints it, and `NGINX_SEED=…` repeats the choices."""

CONFIGURATION: Final = (REPOSITORY / "deploy" / "nginx.conf").read_text()


def blocks(ports: list[int]) -> tuple[str, str]:
    """What the file has before its server block, and in it, with the nodes of the test."""
    http, _, server = CONFIGURATION.partition("\nserver {\n    listen 80;\n")
    lines = re.findall(r"    server 127\.0\.0\.1:\d+ (.*);", http)
    assert len(lines) == 2
    nodes = "".join(f"    server 127.0.0.1:{port} {lines[0]};\n" for port in ports)
    http = re.sub(r"(    server 127\.0\.0\.1:\d+ .*;\n)+", nodes, http)
    return http, server.rstrip().removesuffix("}")


@pytest.fixture
def nodes(production: Production) -> tuple[Node, Node]:
    first, second = (production.node(trusted_proxies="127.0.0.1", commit_interval_seconds=0.05) for _ in range(2))
    first.launch()
    second.start()
    first.wait_ready()
    return first, second


@pytest.fixture
def nginx(nodes: tuple[Node, Node], make_nginx: MakeNginx) -> Nginx:
    http, server = blocks([node.port for node in nodes])
    return make_nginx(server, http=http)


def test_an_upload_goes_round(production: Production, nodes: tuple[Node, Node], nginx: Nginx) -> None:
    """N05: the Location is nginx's, and requests reach both nodes."""
    content = make_bytes(12 * MEBIBYTE, seed=12)
    upload = TusUpload.create(f"{nginx.origin}/files/", len(content))
    assert upload.url.startswith(nginx.origin)
    while upload.acknowledged < len(content):
        assert upload.patch(content[upload.acknowledged :][: MEBIBYTE + 1]).status == 204
    assert upload.head() == len(content)
    assert sha256(upload.download()) == sha256(content)
    production.assert_finished_once(upload)

    def reaches_both() -> bool:
        """One that was slow once is left out for a second."""
        TusUpload.create(f"{nginx.origin}/files/", 5).finish(b"hello")
        return all(any(line.get("method") == "PATCH" for line in node.log_events()) for node in nodes)

    wait_for(reaches_both, "both nodes get PATCHes")


def test_head_is_locked_while_no_node_answers(nodes: tuple[Node, Node], nginx: Nginx) -> None:
    """I12: tus-js-client begins again from nothing after any other error of HEAD. POST and PATCH come later;
    the browser may read why."""
    upload = TusUpload.create(f"{nginx.origin}/files/", 1000)
    for node in nodes:
        node.kill()
    for method, status in (("HEAD", 423), ("PATCH", 503), ("POST", 503), ("DELETE", 503)):
        answer = request(method, upload.url if method != "POST" else f"{nginx.origin}/files/")
        assert answer.status == status, (method, answer)
        assert answer.fields["retry-after"] == "1"
        assert answer.fields["access-control-allow-origin"] == "*"
    nodes[0].start()
    wait_for(lambda: request("HEAD", upload.url).status == 200, "HEAD answers again")


def test_one_dead_node_is_gone_round(nodes: tuple[Node, Node], nginx: Nginx) -> None:
    """I12: what has not been sent yet goes to the other one."""
    nodes[0].kill()
    for number in range(8):
        content = make_bytes(1000, seed=number)
        upload = TusUpload.create(f"{nginx.origin}/files/", len(content))
        upload.finish(content)


def test_a_patch_is_never_sent_twice(production: Production, nodes: tuple[Node, Node], nginx: Nginx) -> None:
    """N05 (I2, I5): the node dies when bytes have reached it; nginx answers for it, and asks the other one nothing."""
    content = make_bytes(12 * MEBIBYTE, seed=13)
    upload = TusUpload.create(f"{nginx.origin}/files/", len(content))
    with OpenPatch(upload, len(content)) as patch:
        patch.send(content[: 6 * MEBIBYTE])
        wait_for(lambda: upload.head() == 6 * MEBIBYTE, "it has arrived")
        writer = production.row(upload)["writer_node"]
        (doomed,) = (node for node in nodes if node_id_of(production, node) == writer)
        doomed.kill()
        patch.send(content[6 * MEBIBYTE : 7 * MEBIBYTE])
        answer = patch.answer()
        assert answer is None or answer.status == 503, answer
    (other,) = (node for node in nodes if node is not doomed)
    assert not [line for line in other.log_events() if line.get("method") == "PATCH"]
    doomed.start()
    wait_for(lambda: request("HEAD", upload.url).status == 200, "HEAD answers")
    upload.finish(content)
    assert sha256(upload.download()) == sha256(content)


@pytest.mark.long
def test_a_proxy_that_keeps_bodies_back(
    production: Production, nodes: tuple[Node, Node], make_nginx: MakeNginx
) -> None:
    """N06 (I3): a wrong setting of the proxy. What never reached a node is not shown, and nothing hangs on it."""
    http, server = blocks([node.port for node in nodes])
    assert "proxy_request_buffering off;" in server
    nginx = make_nginx(server.replace("proxy_request_buffering off;", "proxy_request_buffering on;"), http=http)
    content = make_bytes(6 * MEBIBYTE, seed=16)
    upload = TusUpload.create(f"{nginx.origin}/files/", len(content))
    with OpenPatch(upload, len(content)) as patch:
        patch.send(content[: 3 * MEBIBYTE])
        assert upload.head() == 0
        patch.reset()
    assert upload.head() == 0
    upload.finish(content)
    assert sha256(upload.download()) == sha256(content)
    production.assert_finished_once(upload)


def node_id_of(production: Production, node: Node) -> str:
    """Found by whom a claim of its own names."""
    probe = TusUpload.create(node.url, 10, body=b"12345")
    return str(production.row(probe)["writer_node"])


class Killing(threading.Thread):
    """Kills either node at random, and starts it again, until told to stop."""

    def __init__(self, nodes: tuple[Node, Node], chance: random.Random, most: int) -> None:
        super().__init__()
        self.kills = 0
        self._nodes = nodes
        self._chance = chance
        self._most = most
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            while self.kills < self._most and not self._ended.wait(self._chance.uniform(0.2, 1.5)):
                node = self._chance.choice(self._nodes)
                node.kill()
                self.kills += 1
                self._ended.wait(self._chance.uniform(0, 0.5))
                node.start()
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        self._ended.set()
        self.join()
        if self._error is not None:
            raise self._error


def carry(
    production: Production,
    nodes: tuple[Node, Node],
    nginx: Nginx,
    file: Path,
    *,
    copies: int,
    kills: int,
    pause_ms: int = 5,
) -> None:
    """tus-js-client uploads the file several times at once, while nodes are killed."""
    print(f"NGINX_SEED={SEED}")
    killing = Killing(nodes, random.Random(SEED), kills)
    options = {
        "endpoint": f"{nginx.origin}/files/",
        "file": str(file),
        "copies": copies,
        "as": "slow",
        "pauseMs": pause_ms,
        "retryDelays": [0, 200, 500, 1000, 1000, 2000, 2000, 3000, 3000, 3000, 3000, 3000],
    }
    with ThreadPoolExecutor() as threads:
        running = threads.submit(tus_js.run, options)
        killing.start()
        try:
            run = running.result()
        finally:
            killing.end()
    content = sha256(file.read_bytes())
    urls = [str(event["url"]) for event in run.of("success")]
    answers = [(event["method"], event["status"]) for event in run.of("answer")]
    print(f"{killing.kills} kills, answers {sorted((answer, answers.count(answer)) for answer in set(answers))}")
    assert killing.kills > 0
    assert len(urls) == len(set(urls)) == copies
    # No failed HEAD made the client begin again: each upload was created once, but for a POST whose answer was lost.
    assert not [status for method, status in answers if method == "HEAD" and status not in (200, 423)], answers
    uploads = [TusUpload(url) for url in urls]
    for upload in uploads:
        assert sha256(upload.download()) == content
    production.assert_finished_once(*uploads)
    production.sql("UPDATE uploads SET expires_at = now() - interval '1 second' WHERE status = 'uploading'")
    wait_for(lambda: not production.sql("SELECT FROM uploads WHERE status = 'uploading'"), "the rest expires")
    production.assert_nothing_left(60)


def test_kills_of_either_node(production: Production, nodes: tuple[Node, Node], nginx: Nginx, tmp_path: Path) -> None:
    """C01, C09, N05 (I1, I2, I6, I8, I12)."""
    file = tmp_path / "file"
    file.write_bytes(make_bytes(16 * MEBIBYTE, seed=14))
    carry(production, nodes, nginx, file, copies=2, kills=2)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_kills_of_either_node(
    production: Production, nodes: tuple[Node, Node], nginx: Nginx, tmp_path: Path
) -> None:
    """C01, C09, N05 (I1, I2, I6, I8, I12): eight files of 30 MB."""
    file = tmp_path / "file"
    file.write_bytes(make_bytes(30_000_000, seed=15))
    began = time.monotonic()
    carry(production, nodes, nginx, file, copies=8, kills=20, pause_ms=25)
    print(f"{time.monotonic() - began:.1f} s")
