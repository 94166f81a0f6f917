"""The page that follows runs: what it reads, what it refuses, how it follows a search that goes on, and how it ends."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from dnas.cli.entry import call, parse
from dnas.cli.report import Arguments, main
from dnas.process.loopback import handler
from dnas.report import live
from dnas.report.live import answers_of

from .folders import STORED, copied, several, unfinished

pytest.importorskip("vl_convert", reason="pages need dnas[report]")


@pytest.fixture
def site(tmp_path) -> Iterator[tuple[Path, int]]:
    """A folder of runs that is served, and the port."""
    root = tmp_path / "runs"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(answers_of(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server:
        yield root, server.server_port
        server.shutdown()


def get(port: int, path: str, host: str = "127.0.0.1", method: str = "GET", at: str | None = None) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, headers={"Host": host + (f":{port}" if at is None else at)})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_runs_appear_and_go_on_and_end(site):
    root, port = site
    empty = get(port, "/?state")
    assert get(port, "/")[0] == 200 and "No run yet" in get(port, "/")[1]
    run = unfinished("slimming", root, 12, "mine")
    begun = get(port, "/?state")
    assert begun != empty and "Not known yet: this run has not ended" in get(port, "/")[1]
    lines = (STORED / "slimming" / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.partial.jsonl").write_text("".join(lines[:20]))
    assert get(port, "/?state") not in (begun, empty)
    step = json.loads(lines[19])["step"]
    assert f"after step {step}" in get(port, "/mine")[1]
    (run / "history.partial.jsonl").write_text("".join(lines[:20]) + '{"step": ')  # as a kill may leave it
    status, page = get(port, "/")
    assert status == 200 and "history.partial.jsonl:21" in page
    (run / "history.partial.jsonl").unlink()
    run.rename(root / "old")
    copied("slimming", root, "mine")
    assert "Is it good?" in get(port, "/mine")[1] and re.search('data-live="/mine\\?state"', get(port, "/mine")[1])


def test_folders_that_vanish_meanwhile_are_no_fault(site):
    """As the checkpoints of a search do."""
    root, port = site
    run, going_on = unfinished("slimming", root, 12, "mine"), threading.Event()

    def churn() -> None:
        for n in itertools.count():
            if going_on.is_set():
                return
            (run / "checkpoints" / f"{n}" / "state" / "d").mkdir(parents=True)
            shutil.rmtree(run / "checkpoints" / f"{n}")

    worker = threading.Thread(target=churn, daemon=True)
    worker.start()
    answers = {get(port, "/?state")[0] for _ in range(300)}
    going_on.set()
    worker.join()
    assert answers == {200}


def test_what_cannot_be_read_now_is_to_be_asked_for_again(site, monkeypatch):
    def gone(*_: object) -> str:
        raise FileNotFoundError("architecture.json")

    monkeypatch.setattr(live, "followed", gone)
    assert get(site[1], "/")[0] == 503 and get(site[1], "/?state")[0] == 200


def test_a_file_that_cannot_be_read_is_named_and_the_other_runs_are_shown(site):
    """Whichever it is: a shell makes an empty `evaluation.json` before the command that fills it has begun."""
    root, port = site
    copied("random", root)
    for kind, name in (("trained", "evaluation.json"), ("slimming", "chain/001.json"), ("joint", "joint.json")):
        run = copied(kind, root)
        (run / name).write_text("")
        status, page = get(port, "/")
        assert status == 200 and f"{kind}/{name}" in page and 'href="/random"' in page
        shutil.rmtree(run)


def test_the_record_of_several_seeds_is_followed(site):
    root, port = site
    home = several(root)
    whole = (home / "seeds.json").read_text()
    (home / "seeds.json").unlink()
    before = get(port, "/?state")
    (home / "seeds.json").write_text(whole)
    assert get(port, "/?state") != before and "Over the seeds of tiny" in get(port, "/")[1]
    (home / "seeds.json").rename(root.parent / "seeds.json")
    (home / "seeds.json").symlink_to(root.parent / "seeds.json")
    assert "No run yet" in get(port, "/")[1]


def test_a_name_that_is_no_text_is_shown_and_led_to(site):
    root, port = site
    copied("random", root, os.fsdecode(b"b\xe9d <i>"))
    page = get(port, "/")[1]
    assert 'href="/b%E9d%20%3Ci%3E"' in page and r"b\xe9d &lt;i&gt;" in page
    assert 'data-live="/b%E9d%20%3Ci%3E?state"' in get(port, "/b%E9d%20%3Ci%3E")[1]
    assert get(port, "/b%E9d%20%3Ci%3E?state")[0] == 200


def test_heads_and_addresses_without_a_port_are_answered(site):
    """A browser leaves the port 80 out."""
    root, port = site
    copied("random", root)
    assert get(port, "/", method="HEAD") == (200, "") and get(port, "/none", method="HEAD") == (404, "")
    assert get(port, "/?state", at="")[0] == 200 and get(port, "/?state", "evil.example", at="")[0] == 404


def test_who_goes_away_meanwhile_is_no_fault(site, capfd):
    root, port = site
    copied("random", root)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hasty.sendall(f"GET / HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert get(port, "/")[0] == 200  # one page after the other: those are done
    assert capfd.readouterr().err == ""


def test_nothing_outside_of_the_folder_is_read(site):
    root, port = site
    copied("random", root)
    copied("random", root.parent, "secret")
    (root / "out").symlink_to(root.parent / "secret")
    linked = copied("random", root, "linked")
    (linked / "architecture.json").rename(root.parent / "a.json")
    (linked / "architecture.json").symlink_to(root.parent / "a.json")
    climbing = ("/../secret", "/%2e%2e/secret", "/out", "/random/../../secret", "/..", "//etc", "/%00", "/none")
    climbing += ("/random/architecture.json",)
    assert [get(port, path)[0] for path in climbing] == [404] * len(climbing)
    assert "random/" not in get(port, "/linked")[1] and "No run yet" in get(port, "/linked")[1]
    page = get(port, "/")[1]
    assert 'href="/random"' in page and 'href="/out"' not in page and 'href="/linked"' not in page
    assert get(port, "/random")[0] == 200 and get(port, "/random", "evil.example")[0] == 404


def test_a_table_of_another_folder_is_not_read(site):
    root, port = site
    run, table = copied("random", root), root.parent / "table.json"
    table.write_text("{ no table, and an error if it were read")
    document = json.loads((run / "architecture.json").read_text())
    document["search"]["budgets"].append({"budget": f"6ms@{table}", "limit": 6.0, "cost": 5.0})
    (run / "architecture.json").write_text(json.dumps(document))
    (run / "history.jsonl").write_text('{"step": 1}\n')
    assert get(port, "/random")[0] == 200


def test_nothing_is_written(site):
    root, port = site
    copied("family", root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert get(port, "/")[0] == 200 and {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize(
    "words", [["--live", "RUNS", "--out", "a.html"], ["--live", "RUNS/none"], ["--live", "RUNS", "--port", "99999"]]
)
def test_mistakes_are_one_line(words, tmp_path, capsys):
    assert call(main, parse(Arguments, [word.replace("RUNS", str(tmp_path)) for word in words])) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it(tmp_path, number, code):
    """Ctrl-C also where a shell in the background began it, which has the signal ignored."""
    deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [*deaf, sys.executable, "-m", "dnas.report", "--live", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None and process.stderr is not None
        port = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert port and get(int(port[1]), "/?state")[0] == 200
        process.send_signal(number)
        assert process.wait(60) == code and process.stderr.read() == "stopped\n"
    finally:
        process.kill()
        process.communicate()
