"""A text task that is made, and not read: sentences of a small grammar, letter by letter."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.parameters import whole

from .arrays import Part, assembled
from .base import Dataset, Source

ALPHABET = " .abcdefghijklmnopqrstuvwxyz"
_WORDS = {
    "adjective": [
        "quick",
        "lazy",
        "brown",
        "small",
        "jolly",
        "grey",
        "old",
        "proud",
        "vexed",
        "young",
        "mild",
        "odd",
    ],
    "noun": [
        "fox",
        "judge",
        "nurse",
        "baker",
        "sailor",
        "horse",
        "wizard",
        "child",
        "goat",
        "king",
        "jackdaw",
        "queen",
    ],
    "verb": [
        "sees",
        "paints",
        "follows",
        "excites",
        "hears",
        "quizzes",
        "moves",
        "juggles",
        "finds",
        "wakes",
        "keeps",
    ],
    "place": [
        "by the lake",
        "in the box",
        "near a mill",
        "at home",
        "on the quay",
        "under a yew",
        "up north",
    ],
}
_SENTENCE = ("the", "adjective", "noun", "verb", "the", "adjective", "noun", "place")


class Sentences(Source):
    """Tell the next character of a text from the ones before it.

    Many authors write sentences like "the lazy fox sees the old judge by the lake.", each with a
    liking for words of its own: of twelve words, the k-th that an author likes best comes 1/k as
    often as the first. An example is a sequence of `window` integers, characters of the alphabet
    " .abc..z", and its label is the next one, so that the 28 classes are the vocabulary. Authors
    are the groups (partition ``natural``). The last fifth of each author's text is for tests.

    Args:
        authors: how many write.
        length: characters of each author's text that are to be told.
        window: characters that are seen before each.
        validation: as for a `Source`.

    Example:
        >>> data = Sentences(authors=3, length=500, validation=0).load()
        >>> data.features, data.classes, data.vocabulary, len(data.train), len(data.test)
        (20, 28, 28, 1200, 300)
        >>> "".join(ALPHABET[int(i)] for i in data.train.features[0])
        'the young jackdaw ju'
    """

    paper = "hgobench"
    validity = "embedded; sequences, with authors as groups"
    alphabet: ClassVar[str] = ALPHABET

    def __init__(
        self, authors: int = 40, length: int = 500, window: int = 20, validation: float = 0.15
    ) -> None:
        super().__init__(validation)
        self.authors = whole("authors", authors, least=1)
        self.length = whole("length", length, least=100)
        self.window = whole("window", window, least=1)
        if self.authors * self.length * self.window > 1 << 28:
            raise ValueError(
                f"authors, length, window: {authors} x {length} x {window}; expected at most "
                f"{1 << 28:,} characters in all"
            )

    def load(self) -> Dataset:
        """Write the texts, and cut them into windows."""
        cut = self.length - self.length // 5
        halves: dict[str, list[Part]] = {"train": [], "test": []}
        for author in range(self.authors):
            letters = text(author, self.length + self.window)
            windows = np.lib.stride_tricks.sliding_window_view(letters, self.window)[:-1]
            labels = letters[self.window :]
            for name, rows in (("train", slice(0, cut)), ("test", slice(cut, None))):
                who = np.full(len(labels[rows]), author)
                halves[name].append(Part(windows[rows], labels[rows], who))
        parts = {
            name: Part(
                np.concatenate([p.features for p in half]),
                np.concatenate([p.labels for p in half]),
                np.concatenate([p.groups for p in half if p.groups is not None]),
            )
            for name, half in halves.items()
        }
        return assembled(parts, self)


def text(author: int, length: int) -> NDArray[np.int64]:
    """Write an author's text: `length` positions in the alphabet.

    >>> "".join(ALPHABET[i] for i in text(7, 40))
    'the odd fox excites the small goat up no'
    """
    rng = np.random.default_rng([7, author])
    liked = {
        kind: [words[i] for i in rng.permutation(len(words))] for kind, words in _WORDS.items()
    }
    # Whole numbers, 27720/k, so that no machine rounds them differently.
    ends = {kind: np.cumsum(27720 // np.arange(1, len(words) + 1)) for kind, words in liked.items()}
    written: list[str] = []
    size = 0
    while size < length:
        words = [
            liked[kind][
                int(np.searchsorted(ends[kind], rng.integers(ends[kind][-1]), side="right"))
            ]
            if kind in liked
            else kind
            for kind in _SENTENCE
        ]
        written.append(" ".join(words) + ". ")
        size += len(written[-1])
    position = {letter: i for i, letter in enumerate(ALPHABET)}
    return np.array([position[letter] for letter in "".join(written)[:length]], dtype=np.int64)
