"""A character model on slow phones.

It reads eight letters and predicts the next. The text is what Python's `help()` says; a topic is a
user, and whole topics are on one of twenty phones. Nine phones of ten are slow (fleet `c1`): by a
round's deadline they have a part of a gradient. SGD learns from whole gradients alone, HGO from
the parts as well. Three of the phones are Byzantine.
"""

import re
from pydoc_data.topics import topics

import numpy as np
import torch

import hgobench

LETTERS, WINDOW = " abcdefghijklmnopqrstuvwxyz", 8


def help_texts(examples=3000):
    """Return windows of letters (N, WINDOW), the letter behind each, and its topic."""
    rng = np.random.default_rng(0)  # the same in every process
    longest = sorted(topics, key=lambda name: (-len(topics[name]), name))[:40]
    texts = [re.sub("[^a-z]+", " ", topics[name].lower()) for name in longest]
    coded = [np.array([LETTERS.index(letter) for letter in text]) for text in texts]
    topic = rng.integers(0, len(coded), examples)
    start = [rng.integers(0, len(coded[t]) - WINDOW) for t in topic]
    windows = np.stack([coded[t][at : at + WINDOW + 1] for t, at in zip(topic, start, strict=True)])
    return windows[:, :-1], windows[:, -1], topic


class Reader(torch.nn.Module):
    """An embedding of letters, and one hidden layer."""

    def __init__(self, vocab_size, num_classes, width=16, hidden=48):
        super().__init__()
        self.letters = torch.nn.Embedding(vocab_size, width)
        self.hidden = torch.nn.Linear(WINDOW * width, hidden)
        self.head = torch.nn.Linear(hidden, num_classes)

    def forward(self, x):
        """Score the letters that may follow."""
        return self.head(torch.relu(self.hidden(self.letters(x).flatten(1))))


SETTINGS = {
    "data": "letters_on_phones:help_texts", "partition": "natural",
    "model": "letters_on_phones:Reader", "hardware": "c1", "deadline": 64.0,
    "workers": 20, "sampled": 20, "byzantine": 3, "batch_size": 16, "learning_rate": 1.5,
    "rounds": 200, "evaluation_interval": 50, "algorithm": ["hgo", "sgd"],
    "rule": ["average", "trimmed_mean"], "attack": ["none", "alie"], "seed": 0,
}  # fmt: skip

if __name__ == "__main__":
    outcome = hgobench.run_suite("smoke", settings=SETTINGS, out="letters")
    print(outcome)
    outcome.plot("curves", x="time", where={"attack": "none", "rule": "trimmed_mean"}).save(
        "letters.png"
    )
