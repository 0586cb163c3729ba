"""Decoding in places that stay where they are, for a GPU: new rows take the places of those done.

Each of B places has its keys and values, its counters and what it has written at fixed addresses,
so that a step can be recorded (:mod:`rlvr_placebo.rollout.graphs`). A step works on the first so
many places and reads the cache up to a border, both from a short list of sizes. The host looks at
the places every few steps only: it collects what is done and lets waiting prompts in. A row that is
done waits for it and changes nothing more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Completion
from rlvr_placebo.core.seeds import uniforms
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.device import device_of
from rlvr_placebo.model.products import round_up
from rlvr_placebo.rollout.cache import read_prompts
from rlvr_placebo.rollout.graphs import Replay, recorder
from rlvr_placebo.rollout.native import Job, NativeEngine, Written
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.rollout.sampler import BROKEN, draw

STRIDE = 8  # steps between two looks of the host
GRAIN = 256  # the border of what is read of the cache moves by so many tokens
SHARE = 8  # waiting prompts are let in when one place in so many is free
READ = 1 << 14  # prompt tokens that are read at once

Text = tuple[int, ...]  # token ids
Decode = Callable[[list[list[int]]], list[str]]


class SlotEngine(NativeEngine):
    """Rollout engine over one decoder on a GPU; on the CPU it does the same, unrecorded.

    Kernels differ with the shape of a batch, so that completions are those of another batch but for
    rounding, which decides between tokens where a uniform meets a boundary.
    """

    block = 4096

    def _work(
        self,
        prompts_P: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds_P_G: Sequence[Sequence[int]],
        order: Sequence[int],
    ) -> Iterator[tuple[Job, Completion]]:
        """Complete all prompts; see :meth:`NativeEngine._work`."""
        waiting = deque((p, i) for p in order for i in range(len(seeds_P_G[p])))
        if not waiting:
            return
        count = min(self.max_rows, len(waiting))
        longest, stops = max(map(len, prompts_P)), self._stops(sampling)
        places = Places(self.model, count, longest, sampling, stops)
        record = recorder(places.device) if self.model.records else None
        replay = Replay(places.step, record)
        held: dict[int, Job] = {}
        while waiting or held:
            free = [place for place in range(count) if place not in held]
            if waiting and len(free) * SHARE >= count:
                free = free[: len(waiting)]
                jobs = [waiting.popleft() for _ in free]
                seeds = [seeds_P_G[p][i] for p, i in jobs]
                places.admit(free, [prompts_P[p] for p, _ in jobs], seeds)
                held |= dict(zip(free, jobs, strict=True))
            rows = min(count, power(max(held) + 1))
            if not waiting and power(len(held)) < rows:
                places.close_up(sorted(held))
                held = dict(enumerate(held[place] for place in sorted(held)))
                rows = power(len(held))
            steps, border = places.ahead(list(held))
            for _ in range(steps):
                replay(rows, border)
            ended = places.look(list(held), self.tokenizer.decode_many)
            if not ended:
                continue
            jobs = [held.pop(place) for place in ended]
            seeds = [seeds_P_G[p][i] for p, i in jobs]
            rows_E = torch.arange(len(jobs))
            for row, completion in self._completions(places.take(ended), rows_E, seeds):
                yield jobs[row], completion


def power(count: int) -> int:
    """The next power of two. Example: ``power(5)`` is 8."""
    return 1 << (count - 1).bit_length()


class Places:
    """B places with their keys and values, counters and tokens, all at fixed addresses.

    The token that is read next is the prompt's last at first, so that every token is drawn by
    :meth:`step`. What a row writes beyond its end goes to a column that nobody reads.

    Attributes:
        device: where they are.
    """

    def __init__(
        self, model: Decoder, count: int, longest: int, sampling: Sampling, stops: Tensor
    ) -> None:
        """Make room for ``count`` rows behind prompts of at most ``longest`` tokens."""
        a = model.architecture
        self.device = device = device_of(model)
        self._model, self._sampling, self._stops = model, sampling, stops.to(device)
        self._reach = round_up(longest + sampling.max_tokens, GRAIN)
        shape = (count, a.kv_heads, self._reach, a.head_dim)
        numbers = model.compute or torch.float32
        self._keys = [torch.zeros(shape, dtype=numbers, device=device) for _ in range(a.layers)]
        self._values = [torch.zeros_like(keys) for keys in self._keys]
        self._slots = torch.arange(self._reach, device=device)
        self._tokens_B = torch.zeros(count, dtype=torch.long, device=device)
        self._positions_B = torch.zeros_like(self._tokens_B)
        self._counts_B = torch.zeros_like(self._tokens_B)  # tokens written
        self._done_B = torch.ones(count, dtype=torch.bool, device=device)
        self._uniforms_BT = torch.zeros(
            (count, sampling.max_tokens), dtype=torch.float64, device=device
        )
        self._written = Written.empty(count, sampling.max_tokens + 1, device)
        self._sound = torch.ones((), dtype=torch.bool, device=device)  # no logit was infinite
        self._begins = [0] * count  # where a row's own tokens begin
        self._known = [0] * count  # tokens written when the host last looked
        model.reach(self._reach)

    def admit(
        self, places: Sequence[int], prompts: Sequence[Sequence[int]], seeds: Sequence[int]
    ) -> None:
        """Let rows in: read their prompts, but for the last token, into their places."""
        self._read(places, prompts)
        at = torch.tensor(places, device=self.device)
        lengths = [len(p) for p in prompts]
        self._tokens_B[at] = torch.tensor([p[-1] for p in prompts], device=self.device)
        self._positions_B[at] = torch.tensor(lengths, device=self.device) - 1
        self._counts_B[at] = 0
        self._done_B[at] = False
        self._written.stopped_B[at] = False
        drawn = torch.from_numpy(uniforms(seeds, self._sampling.max_tokens))
        self._uniforms_BT[at] = drawn.to(self.device)
        for place, length in zip(places, lengths, strict=True):
            self._begins[place], self._known[place] = length, 0

    def _read(self, places: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """Write the keys and values of prompts, each read once, into the places of their rows."""
        sharing: dict[Text, list[int]] = {}
        for place, prompt in zip(places, prompts, strict=True):
            sharing.setdefault(tuple(prompt[:-1]), []).append(place)
        sharing.pop((), None)
        for texts in _portions(list(sharing), READ):
            read = read_prompts(self._model, texts)
            at = torch.tensor([p for t in texts for p in sharing[t]], device=self.device)
            copies = torch.tensor([len(sharing[t]) for t in texts], device=self.device)
            source = torch.arange(len(texts), device=self.device).repeat_interleave(copies)
            width = read.keys[0].shape[2]
            for layer in range(len(read.keys)):
                self._keys[layer][at, :, :width] = read.keys[layer][source]
                self._values[layer][at, :, :width] = read.values[layer][source]

    def step(self, rows: int, border: int) -> None:
        """Read one token in each of the first ``rows`` places and draw the next.

        Nothing here may wait for the device, or depend on its numbers in shape.

        Args:
            rows: places that work.
            border: slots of the cache that are read; all of them lie below it.
        """
        tokens_B, positions_B = self._tokens_B[:rows], self._positions_B[:rows]
        counts_B, done_B = self._counts_B[:rows], self._done_B[:rows]
        index_B1 = positions_B[:, None, None, None]
        hidden = self._slots[:border] > index_B1  # [B, 1, 1, S]
        mask = torch.zeros_like(hidden, dtype=self._keys[0].dtype).masked_fill_(hidden, -torch.inf)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            _, heads, _, size = query.shape
            keys, values = self._keys[layer][:rows], self._values[layer][:rows]
            at = index_B1.expand_as(key)
            keys.scatter_(2, at, key)
            values.scatter_(2, at, value)
            # The query heads of a key head stand as rows: each key is read once.
            query_BKRE = query.reshape(rows, key.shape[1], -1, size)
            out = functional.scaled_dot_product_attention(
                query_BKRE, keys[:, :, :border], values[:, :, :border], attn_mask=mask
            )
            return out.reshape(rows, heads, 1, size)

        hidden_BD = self._model(tokens_B[:, None], positions_B[:, None], attend)[:, 0]
        last = self._sampling.max_tokens
        uniforms_B = self._uniforms_BT[:rows].gather(1, counts_B.clamp(max=last - 1)[:, None])
        drawn = draw(self._model.logits(hidden_BD), uniforms_B[:, 0], self._sampling, check=False)
        column_B1 = torch.where(done_B, last, counts_B)[:, None]
        for room_BT, found_B in (
            (self._written.tokens_BT, drawn.tokens_B.to(torch.int32)),
            (self._written.logprobs_BT, drawn.logprobs_B),
            (self._written.entropies_BT, drawn.entropies_B),
            (self._written.certainties_BT, drawn.certainties_B),
        ):
            room_BT[:rows].scatter_(1, column_B1, found_B[:, None])
        going_B = ~done_B
        self._written.stopped_B[:rows] |= torch.isin(drawn.tokens_B, self._stops) & going_B
        self._sound &= (torch.isfinite(drawn.logprobs_B) | done_B).all()
        counts_B += going_B
        positions_B += going_B
        done_B |= self._written.stopped_B[:rows] | (counts_B >= last)
        tokens_B.copy_(drawn.tokens_B)

    def ahead(self, held: Sequence[int]) -> tuple[int, int]:
        """How many steps to go before the next look, and what they read of the cache."""
        steps = min(STRIDE, max(self._sampling.max_tokens - self._known[p] for p in held))
        furthest = max(self._begins[p] + self._known[p] for p in held) + steps
        return steps, min(self._reach, round_up(furthest, GRAIN))

    def look(self, held: Sequence[int], decode: Decode) -> dict[int, int]:
        """Which rows are done, with their lengths.

        Args:
            held: places that hold a row.
            decode: tokens to texts, for stop texts.

        Raises:
            PlaceboError: logits were not finite.
        """
        counts, done = torch.stack((self._counts_B, self._done_B.long())).tolist()
        if not bool(self._sound):
            raise PlaceboError(BROKEN)
        ended = {place: counts[place] for place in held if done[place]}
        if self._sampling.stops and (said := self._said(held, counts, decode)):
            ended |= said
            at = torch.tensor(list(said), device=self.device)
            self._done_B[at] = True
            self._written.stopped_B[at] = True
        for place in held:
            self._known[place] = counts[place]
        return ended

    def _said(self, held: Sequence[int], counts: list[int], decode: Decode) -> dict[int, int]:
        """Rows that have said a stop text since the last look, and the length at which they had."""
        stops = self._sampling.stops
        back = max(len(stop.encode()) for stop in stops)  # a token is one byte at least
        tokens = self._written.tokens_BT.cpu().numpy()
        new = {place: tokens[place, max(0, self._known[place] - back) : counts[place]].tolist()
               for place in held}  # fmt: skip
        texts = dict(zip(held, decode(list(new.values())), strict=True))
        found = {}
        for place in held:
            if any(stop in texts[place] for stop in stops):
                ends = range(self._known[place] + 1, counts[place] + 1)
                tails = decode([tokens[place, max(0, end - back) : end].tolist() for end in ends])
                hits = [end for end, tail in zip(ends, tails, strict=True)
                        if any(stop in tail for stop in stops)]  # fmt: skip
                found |= {place: hits[0]} if hits else {}
        return found

    def take(self, ended: Mapping[int, int]) -> Written:
        """What rows have written, by their lengths, on the CPU."""
        at = torch.tensor(list(ended), dtype=torch.long, device=self.device)
        written = Written(*(part[at].cpu() for part in self._written.parts()))
        written.lengths_B = torch.tensor(list(ended.values()), dtype=torch.long)
        return written

    def close_up(self, held: Sequence[int]) -> None:
        """Move the rows of these places, in ascending order, to the first ones."""
        at = torch.tensor(held, device=self.device)
        counters = (self._tokens_B, self._positions_B, self._counts_B, self._uniforms_BT)
        for whole in (*self._keys, *self._values, *counters, *self._written.parts()):
            whole[: len(held)] = whole[at]
        self._done_B[: len(held)] = False
        self._done_B[len(held) :] = True
        for numbers in (self._begins, self._known):
            numbers[: len(held)] = [numbers[place] for place in held]


def _portions(texts: Sequence[Text], most: int) -> Iterator[list[Text]]:
    """Texts in their order, so many tokens at a time (at least one text)."""
    some: list[Text] = []
    size = 0
    for text in texts:
        if some and size + len(text) > most:
            yield some
            some, size = [], 0
        some.append(text)
        size += len(text)
    if some:
        yield some
