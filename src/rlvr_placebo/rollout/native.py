"""The native engine: batched decoding with the learner's own forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from rlvr_placebo.core.records import Completion, Finish
from rlvr_placebo.core.seeds import uniforms
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.device import kernels
from rlvr_placebo.model.products import round_up
from rlvr_placebo.rollout.cache import MIN_ROWS, prefill
from rlvr_placebo.rollout.protocol import Finished, Sampling
from rlvr_placebo.rollout.sampler import draw
from rlvr_placebo.text.tokenizer import Tokenizer

Job = tuple[int, int]  # (prompt, index of its seed)
MOVING = 4  # tokens whose decoding takes as long as moving the cache when rows leave the batch


@dataclass(eq=False)
class Written:
    """What B rows have written so far, up to T tokens each.

    Attributes:
        tokens_BT: int32.
        logprobs_BT: of the tokens, in nats.
        entropies_BT: of their distributions, in nats.
        certainties_BT: KL(uniform ‖ p) of their distributions.
        lengths_B: tokens that count.
        stopped_B: ended by a stop token or text.
    """

    tokens_BT: Tensor
    logprobs_BT: Tensor
    entropies_BT: Tensor
    certainties_BT: Tensor
    lengths_B: Tensor
    stopped_B: Tensor

    @classmethod
    def empty(cls, rows: int, length: int, device: torch.device | None = None) -> Written:
        """Room for ``length`` tokens in every row."""
        return cls(
            torch.zeros((rows, length), dtype=torch.int32, device=device),
            torch.zeros((rows, length), device=device),
            torch.zeros((rows, length), device=device),
            torch.zeros((rows, length), device=device),
            torch.full((rows,), length, device=device),
            torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def parts(self) -> list[Tensor]:
        """Its tensors, in the order of their names above."""
        return [getattr(self, field.name) for field in fields(self)]


class NativeEngine:
    """Rollout engine over one decoder held in this process.

    Attributes:
        name: part of every evaluation contract.
        block: samples between two marks from which a killed evaluation goes on.
        version: version of the weights, stamped on every token.
    """

    name = "native"
    block = 1024

    def __init__(self, model: Decoder, tokenizer: Tokenizer, max_rows: int = 256) -> None:
        """Generate with ``model`` (shared, not copied), at most ``max_rows`` rows at a time."""
        self.model = model
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.version = 0

    def load_weights(self, state: Mapping[str, Tensor], version: int) -> None:
        """Copy weights into the model, unless they are its own already."""
        own = self.model.state_dict()
        if any(tensor.data_ptr() != own[name].data_ptr() for name, tensor in state.items()):
            self.model.load_state_dict(state)
        self.version = version

    @torch.inference_mode()
    def generate(
        self,
        prompts_P: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds_P_G: Sequence[Sequence[int]],
        finished: Finished | None = None,
    ) -> list[list[Completion]]:
        """Generate completions; see :class:`rlvr_placebo.rollout.protocol.Engine`."""
        done: dict[tuple[int, int], Completion] = {}
        with self.model.at_rest(), kernels(self.model.head.device):
            # Alike prompts together: less padding in attention, and rows that end together.
            order = sorted(range(len(prompts_P)), key=lambda p: len(prompts_P[p]))
            for place, completion in self._work(prompts_P, sampling, seeds_P_G, order):
                done[place] = completion
                if finished:
                    finished(*place, completion)
        return [[done[p, i] for i in range(len(seeds))] for p, seeds in enumerate(seeds_P_G)]

    def _work(
        self,
        prompts_P: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds_P_G: Sequence[Sequence[int]],
        order: Sequence[int],
    ) -> Iterator[tuple[Job, Completion]]:
        """Complete all prompts, taken in this order; yields completions as they are done."""
        for chunk in self._chunks(seeds_P_G, order):
            prompts = [list(prompts_P[p]) for p, _ in chunk]
            seeds = [list(seeds_P_G[p][part]) for p, part in chunk]
            jobs = [(p, i) for p, part in chunk for i in range(part.start, part.stop)]
            for row, completion in self._decode(prompts, sampling, seeds):
                if row < len(jobs):  # the others filled the batch up
                    yield jobs[row], completion

    def _chunks(
        self, seeds_P_G: Sequence[Sequence[int]], order: Sequence[int]
    ) -> Iterator[list[tuple[int, slice]]]:
        """Cut the work into batches of at most ``max_rows`` rows: (prompt, slice of its seeds)."""
        chunk: list[tuple[int, slice]] = []
        free = self.max_rows
        for p in order:
            start, seeds = 0, seeds_P_G[p]
            while start < len(seeds):
                taken = min(free, len(seeds) - start)
                chunk.append((p, slice(start, start + taken)))
                start, free = start + taken, free - taken
                if free == 0:
                    yield chunk
                    chunk, free = [], self.max_rows
        if chunk:
            yield chunk

    def _decode(
        self, prompts_P: list[list[int]], sampling: Sampling, seeds_P_G: list[list[int]]
    ) -> Iterator[tuple[int, Completion]]:
        """Decode one batch token by token; yields rows as they leave it, the rest at the end."""
        seeds_B = [seed for group in seeds_P_G for seed in group]
        copies_P = [len(group) for group in seeds_P_G]
        copies_P[-1] += (missing := max(0, MIN_ROWS - len(seeds_B)))
        seeds_B += seeds_B[-1:] * missing
        uniforms_BT = torch.from_numpy(uniforms(seeds_B, sampling.max_tokens))
        stops = self._stops(sampling)
        cache, hidden_BD = prefill(self.model, prompts_P, copies_P, sampling.max_tokens)
        written = Written.empty(len(seeds_B), sampling.max_tokens)
        active = torch.arange(len(seeds_B))
        for t in range(sampling.max_tokens):
            logits_BV = self.model.logits(hidden_BD)
            drawn = draw(logits_BV, uniforms_BT[active, t], sampling)
            written.tokens_BT[active, t] = drawn.tokens_B.to(torch.int32)
            written.logprobs_BT[active, t] = drawn.logprobs_B
            written.entropies_BT[active, t] = drawn.entropies_B
            written.certainties_BT[active, t] = drawn.certainties_B
            stopping_B = torch.isin(drawn.tokens_B, stops)
            if sampling.stops:
                stopping_B |= self._said(written.tokens_BT[active, : t + 1], sampling.stops)
            stopping_B &= ~written.stopped_B[active]
            written.lengths_B[active[stopping_B]] = t + 1
            written.stopped_B[active[stopping_B]] = True
            tokens_B = drawn.tokens_B
            going_B = ~written.stopped_B[active]
            left = int(going_B.sum())
            if left == 0 or t + 1 == sampling.max_tokens:
                break
            wanted = round_up(left, MIN_ROWS)
            if (1 - wanted / len(active)) * (sampling.max_tokens - t) > MOVING:
                rows = torch.argsort(going_B, descending=True, stable=True)[:wanted].sort().values
                leaving_B = torch.ones(len(active), dtype=torch.bool).index_fill_(0, rows, 0)
                yield from self._completions(written, active[leaving_B], seeds_B)
                active, tokens_B = active[rows], tokens_B[rows]
                cache.keep(rows)
            positions_B1 = cache.lengths_B[:, None]
            hidden_BD = self.model(tokens_B[:, None], positions_B1, cache.attend)[:, 0]
            cache.advance()
        yield from self._completions(written, active, seeds_B)

    def _stops(self, sampling: Sampling) -> Tensor:
        """Tokens that end a completion: the model's, and stop texts that are special tokens."""
        special = (self.tokenizer.special(stop) for stop in sampling.stops)
        ids = {*self.tokenizer.stops, *(number for number in special if number is not None)}
        return torch.tensor(sorted(ids), dtype=torch.long)

    def _said(self, tokens_BT: Tensor, stops: tuple[str, ...]) -> Tensor:
        """Which rows have just said one of the stop texts, wherever the borders of tokens are."""
        reach = max(len(stop.encode()) for stop in stops)  # a token is one byte at least
        texts = self.tokenizer.decode_many(tokens_BT[:, -reach:].tolist())
        return torch.tensor([any(stop in text for stop in stops) for text in texts])

    def _completions(
        self, written: Written, rows: Tensor, seeds_B: list[int]
    ) -> Iterator[tuple[int, Completion]]:
        """Cut some rows at their lengths and decode their texts."""
        lengths = dict(zip(rows.tolist(), written.lengths_B[rows].tolist(), strict=True))
        tokens, logprobs = written.tokens_BT.numpy(), written.logprobs_BT.numpy()
        entropies, stopped = written.entropies_BT.numpy(), written.stopped_B.tolist()
        certainties = written.certainties_BT.numpy()
        texts = self.tokenizer.decode_many([tokens[b, :n] for b, n in lengths.items()])
        for (b, n), text in zip(lengths.items(), texts, strict=True):
            yield (
                b,
                Completion(
                    tokens=tokens[b, :n].copy(),
                    logprobs=logprobs[b, :n].copy(),
                    entropies=entropies[b, :n].copy(),
                    loss_mask=np.ones(n, dtype=bool),
                    versions=np.full(n, self.version, dtype=np.int32),
                    certainties=certainties[b, :n].copy(),
                    finish=Finish.STOP if stopped[b] else Finish.LENGTH,
                    text=text,
                    seed=seeds_B[b],
                ),
            )
