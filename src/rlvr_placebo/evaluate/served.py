"""A model behind an OpenAI-compatible server, asked as the native engine is.

What a server cannot be held to is said in the contract: its numbers have engine ``server`` and are
compared with no others. Seeds are sent along; whether they mean anything is the server's affair.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
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
            problem, hope = "", True
            try:
                return self._post(path, body)
            except urllib.error.HTTPError as error:
                problem, hope = _reason(error), error.code in PASSING
            except (OSError, HTTPException, ValueError) as error:  # no answer, or half of one
                problem = str(getattr(error, "reason", "") or error) or type(error).__name__
            if not hope:
                raise PlaceboError(f"server {self.url}: {problem}")
            if turn < self.tries:
                time.sleep(self.pause * 2 ** (turn - 1))
        raise PlaceboError(f"server {self.url}: {problem} ({self.tries} tries)")

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        base = self.url.rstrip("/")
        base = base if base.endswith("/v1") else f"{base}/v1"
        request = urllib.request.Request(f"{base}/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=self.patience) as answer:
            found = json.load(answer)
        if not isinstance(found, dict) or not found.get("choices"):
            raise ValueError(f"an answer without choices: {str(found)[:80]}")
        return found


def _reason(error: urllib.error.HTTPError) -> str:
    """What a server says is wrong, in a line."""
    try:
        said = json.loads(error.read())
        said = said.get("error", said) if isinstance(said, dict) else said
        told = said.get("message", said.get("detail", said)) if isinstance(said, dict) else said
    except (OSError, ValueError):
        told = error.reason
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
        done: dict[tuple[int, int], Completion] = {}
        pool = ThreadPoolExecutor(self.server.concurrency)
        try:
            asked: dict[Future[Completion], tuple[int, int]] = {
                pool.submit(self._one, question, sampling, seed): (p, i)
                for p, (question, seeds) in enumerate(zip(prompts_P, seeds_P_G, strict=True))
                for i, seed in enumerate(seeds)
            }
            left = set(asked)
            while left:
                ready, left = wait(left, return_when=FIRST_COMPLETED)
                for future in ready:
                    done[asked[future]] = future.result()
                    if finished:
                        finished(*asked[future], future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return [[done[p, i] for i in range(len(seeds))] for p, seeds in enumerate(seeds_P_G)]

    def _one(self, question: Question, sampling: Sampling, seed: int) -> Completion:
        body = {
            **question.body,
            "model": self.server.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": seed % LONGEST_SEED,
        }
        if sampling.stops:
            body["stop"] = list(sampling.stops)
        found = self.server.ask(question.path, body)
        return _completion(found, sampling, seed)


def _completion(found: Mapping[str, Any], sampling: Sampling, seed: int) -> Completion:
    """A server's answer; the stop text that servers cut off is put back."""
    choice = found["choices"][0]
    text = choice.get("text")
    if text is None:
        text = (choice.get("message") or {}).get("content") or ""
    for stop in sampling.stops:
        opening = stop.replace("</", "<")
        if choice.get("finish_reason") == "stop" and opening in text and stop not in text:
            text += stop
    none = np.zeros(0, dtype=np.float32)
    count = (found.get("usage") or {}).get("completion_tokens")
    return Served(
        tokens=none.astype(np.int32), logprobs=none.copy(), entropies=none.copy(),
        loss_mask=none.astype(bool), versions=none.astype(np.int32), certainties=none.copy(),
        finish=Finish.LENGTH if choice.get("finish_reason") == "length" else Finish.STOP,
        text=text, seed=seed, reported=count if isinstance(count, int) else 0,
    )  # fmt: skip
