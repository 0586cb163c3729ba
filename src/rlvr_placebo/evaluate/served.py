"""A model behind an OpenAI-compatible server, asked as the native engine is.

What a server cannot be held to is said in the contract: its numbers have engine ``server`` and are
compared with no others. Seeds are sent along; whether they mean anything is the server's affair.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from typing import Any

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Completion, Finish, Problem
from rlvr_placebo.evaluate.contract import Contract, EvaluationConfig, decodings
from rlvr_placebo.rollout.protocol import Finished, Sampling
from rlvr_placebo.text.problems import content_hash
from rlvr_placebo.text.templates import Template

PASSING = (408, 409, 425, 429, 500, 502, 503, 504)  # statuses that may be better a moment later
MOST_TOKENS = 10**7  # that a count is believed
LONGEST_REST = 300.0  # seconds that a server may ask for
LONGEST_SEED = 2**31  # what servers take


@dataclass(frozen=True)
class Server:
    """Where to ask, and how.

    Attributes:
        url: up to ``/v1``, which may be left out.
        model: the name by which the server knows it.
        key: sent as a bearer token, unless empty.
        concurrency: requests at once.
        tries: of each request.
        patience: seconds to wait for an answer.
        pause: seconds before the second try; doubled before each further one.
    """

    url: str
    model: str
    key: str = ""
    concurrency: int = 8
    tries: int = 6
    patience: float = 600.0
    pause: float = 1.0

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request, again while there is hope.

        Raises:
            PlaceboError: the server refuses it, or does not answer after all tries.
        """
        for turn in range(1, self.tries + 1):
            problem, hope, rest = "", True, self.pause * 2 ** (turn - 1)
            try:
                return self._post(path, body)
            except urllib.error.HTTPError as error:
                problem, hope = _reason(error), error.code in PASSING
                rest = max(rest, _asked_rest(error))
            except (OSError, HTTPException, ValueError) as error:  # no answer, or half of one
                problem = str(getattr(error, "reason", "") or error) or type(error).__name__
            if not hope:
                raise PlaceboError(f"server {self.url}: {problem}")
            if turn < self.tries:
                time.sleep(rest)
        raise PlaceboError(f"server {self.url}: {problem} ({self.tries} tries)")

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        base = self.url.rstrip("/")
        base = base if base.endswith("/v1") else f"{base}/v1"
        request = urllib.request.Request(f"{base}/{path}", json.dumps(body).encode(), headers)
        with OPENER.open(request, timeout=self.patience) as answer:
            said = answer.read()
        try:
            found = json.loads(said)
            _said(found)
        except (ValueError, RecursionError):
            raise ValueError(f"an answer without a text: {said[:80]!r}") from None
        return found


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would take the key to another place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 (of no interest)
        return None


OPENER = urllib.request.build_opener(_Stay)


def _asked_rest(error: urllib.error.HTTPError) -> float:
    """Seconds that a server asks for before it is asked again."""
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    return min(float(asked), LONGEST_REST) if asked.strip().isascii() and asked.isdigit() else 0.0


def _said(found: Any) -> tuple[str, str]:  # noqa: ANN401 (any JSON value)
    """The text of an answer, and why it ended.

    Raises:
        ValueError: it has none.
    """
    choices = found.get("choices") if isinstance(found, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise ValueError("no choices")
    message = choice.get("message")
    text = choice.get("text")
    if text is None and isinstance(message, dict):
        text = message.get("content")
    if not isinstance(text, str):
        raise ValueError("no text")
    return text.encode("utf-8", "replace").decode(), str(choice.get("finish_reason"))


def _reason(error: urllib.error.HTTPError) -> str:
    """What a server says is wrong, in a line."""
    try:
        said = json.loads(error.read())
        said = said.get("error", said) if isinstance(said, dict) else said
        told = said.get("message", said.get("detail", said)) if isinstance(said, dict) else said
    except (OSError, ValueError, RecursionError):
        told = error.reason
    if 300 <= error.code < 400 and error.headers:
        told = f"redirects to {error.headers.get('Location')}; give that address"
    return f"{error.code} {' '.join(str(told).split())[:300]}"


@dataclass(frozen=True)
class Question:
    """What is sent of a problem: messages for the server's chat template, or a text to go on from.

    Example: ``Question("completions", {"prompt": "What is 1 + 1?"})``.
    """

    path: str
    body: Mapping[str, Any]


def question_of(problem: Problem, template: Template) -> Question:
    """A problem under a template; the tokens are the server's affair."""
    text = template.ask(problem.question)
    if template.chat:
        turns = [*map(dict, problem.messages[:-1]), {"role": "user", "content": text}]
        return Question("chat/completions", {"messages": turns})
    return Question("completions", {"prompt": text})


def served_contract(
    benchmark: str, problems: Sequence[Problem], template: Template, how: EvaluationConfig
) -> Contract:
    """The contract of one benchmark asked of a server."""
    return Contract(
        benchmark=benchmark,
        content=content_hash(problems),
        template=template.name,
        prompt=digest([template.id, "server"]) if template.chat else template.id,
        decodings=decodings(how.temperatures, how.samples),
        max_tokens=how.max_tokens,
        seed=how.seed,
        stops=(),
        stop_texts=template.stops,
        extraction=how.extraction,
        dtype="server",
        engine="server",
    )


@dataclass(frozen=True, eq=False)
class Served(Completion):
    """A completion whose tokens nobody has told; only how many, where the server says so."""

    reported: int = 0

    def __len__(self) -> int:
        """Number of tokens, as the server counts them."""
        return self.reported


class ServedEngine:
    """Rollout engine over a server; it takes :class:`Question` for prompts and keeps no weights.

    Attributes:
        name: part of every evaluation contract.
        block: samples after which a killed evaluation goes on.
    """

    name = "server"
    block = 64

    def __init__(self, server: Server) -> None:
        """Ask ``server``."""
        self.server = server

    def load_weights(self, state: Mapping[str, Any], version: int) -> None:
        """A server has its own.

        Raises:
            PlaceboError: always.
        """
        raise PlaceboError("a served model cannot be trained")

    def generate(
        self,
        prompts_P: Sequence[Any],
        sampling: Sampling,
        seeds_P_G: Sequence[Sequence[int]],
        finished: Finished | None = None,
    ) -> list[list[Completion]]:
        """Ask for every completion; see :class:`rlvr_placebo.rollout.protocol.Engine`.

        Raises:
            PlaceboError: the server refuses, or does not answer; what others got is lost with it.
        """
        places = [(p, i) for p, seeds in enumerate(seeds_P_G) for i in range(len(seeds))]
        jobs = [partial(self._one, prompts_P[p], sampling, seeds_P_G[p][i]) for p, i in places]
        done: dict[tuple[int, int], Completion] = {}
        for place, completion in _together(jobs, self.server.concurrency):
            done[places[place]] = completion
            if finished:
                finished(*places[place], completion)
        return [[done[p, i] for i in range(len(seeds))] for p, seeds in enumerate(seeds_P_G)]

    def _one(self, question: Question, sampling: Sampling, seed: int) -> Completion:
        body = {
            **question.body,
            "model": self.server.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,  # or a server may take its model's own
            "seed": seed % LONGEST_SEED,
        }
        if sampling.stops:
            body["stop"] = list(sampling.stops)
        found = self.server.ask(question.path, body)
        return _completion(found, sampling, seed)


def _together(
    jobs: Sequence[Callable[[], Completion]], threads: int
) -> Iterator[tuple[int, Completion]]:
    """Carry out jobs on some threads; yields (index, result) as they are done.

    The threads end with the process, whatever they wait for: nobody waits for them after an error.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Completion | Exception]] = queue.SimpleQueue()
    over = threading.Event()
    for place in range(len(jobs)):
        todo.put(place)

    def work() -> None:
        while not over.is_set():
            try:
                place = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((place, jobs[place]()))
            except Exception as error:  # noqa: BLE001 (raised again below)
                done.put((place, error))

    for _ in range(min(threads, len(jobs))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in jobs:
            place, found = done.get()
            if isinstance(found, Exception):
                raise found
            yield place, found
    finally:
        over.set()


def _completion(found: Mapping[str, Any], sampling: Sampling, seed: int) -> Completion:
    """A server's answer; the stop text that servers cut off is put back."""
    text, ended = _said(found)
    for stop in sampling.stops:
        opening = stop.replace("</", "<")
        if ended == "stop" and opening in text and stop not in text:
            text += stop
    none = np.zeros(0, dtype=np.float32)
    usage = found.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    counted = isinstance(count, int) and 0 <= count <= MOST_TOKENS
    return Served(
        tokens=none.astype(np.int32), logprobs=none.copy(), entropies=none.copy(),
        loss_mask=none.astype(bool), versions=none.astype(np.int32), certainties=none.copy(),
        finish=Finish.LENGTH if ended == "length" else Finish.STOP,
        text=text, seed=seed, reported=count if counted else 0,
    )  # fmt: skip
