"""The settings that pocket problems are told in: what each sentence of a shop, a bus … says."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = ("Ada", "Ben", "Eve", "Ivo", "Kim", "Leo", "Mia", "Tom")


@dataclass(frozen=True)
class Frame:
    """The sentences of one setting; ``{n}`` is a name, ``{t}`` a thing, ``{b}`` a number."""

    things: tuple[str, ...]
    start: str
    add: str
    take: str
    times: str
    groups: str
    each: str
    ask: str

    def sentence(self, operation: str) -> str:
        """The sentence that tells one operation."""
        table = {"+": self.add, "-": self.take, "*": self.times, "g": self.groups, "h": self.each}
        return table[operation]


FRAMES: dict[str, Frame] = {
    "shop": Frame(
        ("pens", "cups", "hats"),
        "{n} has {b} {t}.",
        "{n} buys {b} more.",
        "{n} sells {b}.",
        "Then {n} has {b} times as many.",
        "{n} buys {b} boxes of {c}.",
        "{n} gives {b} friends {c} each.",
        "How many {t} does {n} have now?",
    ),
    "garden": Frame(
        ("roses", "beans", "trees"),
        "A garden has {b} {t}.",
        "{n} plants {b} more.",
        "{n} cuts {b} down.",
        "Soon there are {b} times as many.",
        "{n} plants {b} rows of {c}.",
        "The wind breaks {c} on each of {b} days.",
        "How many {t} are in the garden?",
    ),
    "bus": Frame(
        ("people", "children"),
        "A bus carries {b} {t}.",
        "{b} get on.",
        "{b} get off.",
        "At the station the number grows {b} times.",
        "{b} groups of {c} get on.",
        "At {b} stops {c} leave.",
        "How many {t} are on the bus?",
    ),
    "library": Frame(
        ("books", "maps"),
        "A library owns {b} {t}.",
        "It gets {b} as a gift.",
        "It loses {b}.",
        "Its stock becomes {b} times as large.",
        "It orders {b} sets of {c}.",
        "It lends {c} to each of {b} readers.",
        "How many {t} does the library hold?",
    ),
    "farm": Frame(
        ("hens", "cows", "goats"),
        "On a farm live {b} {t}.",
        "{b} are born.",
        "{b} are sold.",
        "A year later the herd is {b} times as big.",
        "{b} trucks bring {c} each.",
        "{b} farmers take {c} each.",
        "How many {t} live there now?",
    ),
    "savings": Frame(
        ("coins", "dollars"),
        "{n} saved {b} {t}.",
        "{n} earns {b}.",
        "{n} spends {b}.",
        "A prize makes it {b} times as much.",
        "For {b} weeks {n} earns {c} a week.",
        "For {b} days {n} spends {c} a day.",
        "How many {t} are left?",
    ),
    "kitchen": Frame(
        ("eggs", "cakes", "rolls"),
        "A cook makes {b} {t}.",
        "Then {b} more are made.",
        "Guests eat {b}.",
        "For a party the amount is made {b} times.",
        "{b} trays of {c} come out.",
        "{b} guests eat {c} each.",
        "How many {t} remain?",
    ),
    "game": Frame(
        ("points", "stars"),
        "{n} starts with {b} {t}.",
        "{n} wins {b}.",
        "A mistake costs {b}.",
        "A bonus multiplies the score by {b}.",
        "{n} clears {b} levels worth {c} each.",
        "{n} falls {b} times and loses {c} each time.",
        "What is the score of {n} in {t}?",
    ),
}
