"""Evaluation of served models: against a server that misbehaves, and against a real one."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.parquet as pq
import pytest

from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.evaluate.served import Question, ServedEngine, Server, question_of
from rlvr_placebo.model.folders import shipped_families
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import TEMPLATES


class Fake:
    """A server that answers as a list of replies tells it, the last one for ever."""

    def __init__(self):
        self.asked, self.replies, fake = [], [], self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.asked.append((self.path, body, self.headers.get("Authorization")))
                turn = min(len(fake.asked), len(fake.replies)) - 1
                status, answer, *headers = fake.replies[turn]
                answer = answer(body) if callable(answer) else answer
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(
                    answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                )

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def fake():
    one = Fake()
    yield one
    one.server.shutdown()
    one.server.server_close()


def said(text, finish="stop", count=7):
    choice = {"text": text, "finish_reason": finish}
    return 200, {"choices": [choice], "usage": {"completion_tokens": count}}


ASK = Question("completions", {"prompt": "1 + 1?"})


def ask(fake, sampling=Sampling(0.5, 1.0, 9), tries=3, question=ASK):  # noqa: B008 (frozen)
    server = Server(fake.url, "m", key="secret", tries=tries, pause=0.01)
    ((completion,),) = ServedEngine(server).generate([question], sampling, [[2**40 + 5]])
    return completion


def test_a_question_and_its_answer(fake):
    fake.replies = [said("so 2", "length", 3)]
    completion = ask(fake)
    assert (completion.text, len(completion), completion.finish) == ("so 2", 3, "length")
    path, body, key = fake.asked[0]
    assert (path, key) == ("/v1/completions", "Bearer secret")
    assert body == {"prompt": "1 + 1?", "model": "m", "max_tokens": 9, "temperature": 0.5,
                    "top_p": 1.0, "seed": 5}  # fmt: skip


def test_chat_templates_are_the_servers():
    problem = load_problems("pocket-500")[0]
    chat = question_of(problem, TEMPLATES["chat"])
    assert chat.path == "chat/completions"
    assert chat.body["messages"] == [{"role": "user", "content": problem.question}]
    assert question_of(problem, TEMPLATES["plain"]).body["prompt"].startswith(problem.question)


def test_the_stop_text_is_put_back(fake):
    fake.replies = [said("<think>x</think><answer>2"), said("<answer>2", "length"), said("2")]
    stops = Sampling(0.0, 1.0, 9, ("</answer>",))
    texts = [ask(fake, stops).text for _ in range(3)]
    assert texts == ["<think>x</think><answer>2</answer>", "<answer>2", "2"]
    assert fake.asked[0][1]["stop"] == ["</answer>"]


@pytest.mark.parametrize(
    "bad",
    [
        (500, {}), (429, {"error": {"message": "slow"}}), (200, b"{"), (200, {"choices": []}),
        (200, {"choices": [{}]}), (200, {"choices": [{"text": None}]}), (200, {"choices": {}}),
        (200, {"choices": [None]}), (200, {"choices": [{"message": "x"}]}), (200, b"[" * 99999),
        (200, {"choices": [{"message": {"content": ["x"]}}]}),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again(fake, bad):
    fake.replies = [bad, bad, said("2")]
    assert ask(fake).text == "2"
    assert len(fake.asked) == 3
    fake.asked.clear()
    fake.replies = [bad]
    with pytest.raises(PlaceboError, match="3 tries"):
        ask(fake)


def test_a_redirect_takes_the_key_nowhere(fake):
    fake.replies = [(302, {}, ("Location", "http://localhost:1/v1"))]
    with pytest.raises(PlaceboError, match=r"redirects to http://localhost:1/v1; give that"):
        ask(fake)
    assert len(fake.asked) == 1


def test_a_server_may_ask_for_a_rest_and_its_counts_are_not_believed_blindly(fake):
    fake.replies = [(429, {}, ("Retry-After", "1")), (503, {}, ("Retry-After", "soon")), said("2")]
    began = time.monotonic()
    assert ask(fake).text == "2"
    assert 1.0 <= time.monotonic() - began < 5.0
    for count in (10**12, -1, "7", None, [1]):
        fake.asked.clear()
        fake.replies = [said("2", count=count)]
        assert len(ask(fake)) == 0
    fake.replies = [said("a\ud800b")]
    assert ask(fake).text == "a?b"


def test_nobody_waits_for_requests_that_hang_after_a_refusal(fake):
    hanging = threading.Event()
    fake.replies = [(400, {"error": "no"}), (200, lambda body: hanging.wait(20) and said("2")[1])]
    began = time.monotonic()
    engine = ServedEngine(Server(fake.url, "m", concurrency=4))
    with pytest.raises(PlaceboError, match="400 no"):
        engine.generate([ASK] * 4, Sampling(0.5, 1.0, 9), [[1]] * 4)
    assert time.monotonic() - began < 10
    hanging.set()


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ä"])
def test_a_key_is_never_shown(key, fake, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    command = [
        "eval",
        "--model",
        "m",
        "--benchmark",
        "pocket-fresh@3",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*command, "--server", fake.url]) == 2
    assert capsys.readouterr().err == "placebo: $OPENAI_API_KEY holds characters that no key has\n"
    assert main([*command, "--server", "http://user:secret@host/v1"]) == 2
    assert "secret" not in capsys.readouterr().err


def test_a_refusal_is_said_at_once(fake):
    fake.replies = [(404, {"error": {"message": "no model\nof that name"}})]
    with pytest.raises(PlaceboError, match="404 no model of that name"):
        ask(fake)
    assert len(fake.asked) == 1


def test_a_served_evaluation_is_killed_and_goes_on(fake, tmp_path, capsys):
    right = load_problems("pocket-500")[:40]
    rows = [{"problem": p.question, "answer": p.golds[0], "cluster": p.cluster} for p in right]
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in rows))
    golds = {p.question: p.golds[0] for p in right}

    def answer(body):
        question = next(q for q in golds if body["prompt"].startswith(q))
        return said(f"So \\boxed{{{golds[question]}}}")[1]

    command = ["eval", "--server", fake.url, "--model", "m", "--benchmark", str(few),
               "--out", str(tmp_path / "out"), "--samples", "2"]  # fmt: skip
    fake.replies = [*[(200, answer)] * 90, (400, {"error": "enough"})]
    assert main(command) == 2
    assert "400 enough" in capsys.readouterr().err
    asked = len(fake.asked)
    fake.asked.clear()
    fake.replies = [(200, answer)]
    other = [part.replace("127.0.0.1", "localhost") for part in command]
    assert main([*other, "--resume"]) == 2  # another server is another model, whatever its name
    assert "model_digest" in capsys.readouterr().err
    fake.asked.clear()
    assert main([*command, "--resume"]) == 0
    assert len(fake.asked) <= 1 + 80 + 8  # a first question, what was not kept, what was on its way
    assert asked > 80
    table = pq.read_table(tmp_path / "out/evaluations/step-000000.parquet").to_pylist()
    assert len(table) == 120
    assert all(row["correct"] and row["length"] == 7 for row in table)
    assert {row["mean_probability"] for row in table} == {None}
    assert "100.0" in capsys.readouterr().out
    assert main([*command[:2], "localhost", *command[3:]]) == 2
    assert "must begin with http://" in capsys.readouterr().err


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """``transformers serve`` on a pocket model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = shipped_families()["pocket/code-prior"]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder),
               "--port", str(port), "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except OSError:
                assert server.poll() is None, log.read_text()[-2000:]
                time.sleep(0.5)
        else:
            pytest.fail(log.read_text()[-2000:])
        yield f"http://127.0.0.1:{port}", str(folder)
    finally:
        server.terminate()
        server.wait()


def test_a_real_server_answers_as_our_engine_does(real, tmp_path):
    url, name = real
    rows = [{"problem": p.question, "answer": p.golds[0], "cluster": p.cluster}
            for p in load_problems("pocket-500")[:12]]  # fmt: skip
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rest = ["--benchmark", str(few), "--temperature", "0", "--max-tokens", "72"]
    served = ["eval", "--server", url, "--model", name, "--out", str(tmp_path / "served"), *rest]
    assert main([*served, "--concurrency", "2"]) == 0
    assert (
        main(["eval", "--model", "pocket/code-prior", "--out", str(tmp_path / "own"), *rest]) == 0
    )
    theirs, ours = (
        pq.read_table(tmp_path / out / "evaluations/step-000000.parquet").to_pylist()
        for out in ("served", "own")
    )
    same = [a["text"].strip() == b["text"].strip() for a, b in zip(theirs, ours, strict=True)]
    assert sum(same) >= 11  # but for a tie of two tokens
    assert [a["length"] > 0 for a in theirs] == [True] * 12
