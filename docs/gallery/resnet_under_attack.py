"""My ResNet on my images, under attack.

The images are made here: a disc, a bar that lies or stands, or a cross, in any colour, anywhere.
Ten workers learn to tell them apart; two of them are Byzantine. `drawings` may as well read files,
and the network is any torch module: it is told how many channels and classes the data has.
"""

import numpy as np
from torch import nn

import hgobench


def drawings(examples=1200):
    """Return images (N, 3, 16, 16) as bytes, and what is on them."""
    rng = np.random.default_rng(0)  # the same in every process
    y, x = np.mgrid[:16, :16]
    shape = rng.integers(0, 4, examples)
    images = rng.integers(0, 60, (examples, 3, 16, 16))
    for image, kind in zip(images, shape, strict=True):
        v, h = rng.integers(5, 11, 2)
        down, right = abs(y - v), abs(x - h)
        lies, stands = (down <= 1) & (right <= 4), (right <= 1) & (down <= 4)
        disc = np.hypot(down, right) <= 3
        image[:, (disc, lies, stands, lies | stands)[kind]] = rng.integers(120, 256, (3, 1))
    return images.astype(np.uint8), shape


class ResNet(nn.Module):
    """Two residual blocks with group normalisation, each half as high and wide as its input."""

    def __init__(self, in_channels, num_classes, width=8):
        super().__init__()
        self.main, self.skip = nn.ModuleList(), nn.ModuleList()
        for before, after in (in_channels, width), (width, 2 * width):
            first, second = nn.Conv2d(before, after, 3, 2, 1), nn.Conv2d(after, after, 3, 1, 1)
            norms = nn.GroupNorm(2, after), nn.GroupNorm(2, after)
            self.main.append(nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1]))
            self.skip.append(nn.Conv2d(before, after, 1, 2))
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x):
        """Score the classes."""
        for main, skip in zip(self.main, self.skip, strict=True):
            x = nn.functional.relu(main(x) + skip(x))
        return self.head(x.amax((2, 3)))


SETTINGS = {
    "data": "resnet_under_attack:drawings", "model": "resnet_under_attack:ResNet",
    "workers": 10, "sampled": 10, "byzantine": 2, "batch_size": 8, "algorithm": "sgd",
    "hardware": "powerful", "rounds": 40, "solver": "adam", "learning_rate": 0.01,
    "rule": ["average", "trimmed_mean"], "attack": ["none", "foe", "alie"], "seed": 0,
}  # fmt: skip

if __name__ == "__main__":
    outcome = hgobench.run_suite("smoke", settings=SETTINGS, out="images")
    print(outcome)
    outcome.plot("curves", lines="attack").save("images.png")
