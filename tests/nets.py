"""Torch modules of well-known shapes, as others write them: they know nothing of hgobench."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hgobench.data.base import Dataset, Source, Split
from hgobench.models import Softmax


class NormedMlp(nn.Module):
    """An MLP with layer normalisation and dropout."""

    def __init__(self, in_features: int, num_classes: int, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(in_features, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(0.1)
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.body(x))


class LeNet(nn.Module):
    """Two convolutions, each pooled, and two layers; of images of any size."""

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 12, 3, padding=1)
        self.fc1, self.fc2 = nn.LazyLinear(32), nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Any:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc2(functional.relu(self.fc1(torch.flatten(x, 1))))


class Block(nn.Module):
    """A residual block with group normalisation."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(4, after), nn.GroupNorm(4, after)
        same = stride == 1 and before == after
        self.skip = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Any:
        out = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(out)) + self.skip(x))


class ResNet8(nn.Module):
    """Three residual blocks."""

    def __init__(self, in_channels: int = 3, num_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.norm = nn.GroupNorm(4, width)
        self.blocks = nn.Sequential(
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)
        )
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.blocks(functional.relu(self.norm(self.stem(x)))).mean((2, 3)))


def small_resnet(in_channels: int, num_classes: int) -> nn.Module:
    """Return a narrow one."""
    return ResNet8(in_channels, num_classes, width=4)


class Depthwise(nn.Module):
    """A depthwise separable CNN."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 8, 1),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.ReLU6(),
            nn.Conv2d(8, 12, 1),
            nn.AdaptiveAvgPool2d(2),
        )
        self.classifier = nn.Linear(48, num_classes)

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.features(x).flatten(1))


class Gru(nn.Module):
    """A GRU over an image's rows, and a layer on its last state."""

    def __init__(self, n_classes: int, width: int = 8) -> None:
        super().__init__()
        self.rnn = nn.GRU(width, 12, batch_first=True)
        self.out = nn.Linear(12, n_classes)

    def forward(self, x: Tensor) -> Any:
        states, _ = self.rnn(x)
        return self.out(states[:, -1])


class Encoder(nn.Module):
    """A small Transformer encoder over an image's rows, with fixed positions in a buffer."""

    positions: Tensor

    def __init__(self, n_classes: int, width: int = 8) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.register_buffer("positions", torch.linspace(0, 1, width)[None, :, None])
        self.out = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.encoder(x + self.positions).mean(dim=1))


class Bag(nn.Module):
    """An embedding bag of integers."""

    def __init__(self, classes: int, num_embeddings: int = 4) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(num_embeddings, 6, mode="mean")
        self.out = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.bag(x))


class Tied(nn.Module):
    """Encoder and decoder share their weights, transposed."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.into = nn.Linear(features, 12, bias=False)
        self.again = nn.Linear(features, 12, bias=False)
        self.again.weight = self.into.weight
        self.out = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Any:
        rebuilt = functional.linear(self.into(x).tanh(), self.into.weight.T)
        return self.out(self.again(rebuilt).tanh())


class Unused(nn.Module):
    """It has parameters that it does not use."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(features, classes), nn.Linear(3, 5)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Any:
        return self.used(x)


class TwoHeads(nn.Module):
    """It returns two heads' scores."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(features, 12)
        self.first, self.second = nn.Linear(12, num_classes), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Any:
        hidden = self.body(x).relu()
        return self.first(hidden), self.second(hidden)


class Plain(nn.Module):
    """A chain of two layers."""

    def __init__(self, features: int, classes: int, width: int = 12) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, classes)
        )

    def forward(self, x: Tensor) -> Any:
        return self.layers(x)


class Batched(nn.Module):
    """A chain with batch normalisation."""

    def __init__(self, features: int, classes: int, track: bool = True) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(features, 12), nn.Linear(12, classes)
        self.norm = nn.BatchNorm1d(12, track_running_stats=track)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.norm(self.first(x)).relu())


class Counting(nn.Module):
    """It counts its calls in a buffer."""

    calls: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, classes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        if self.training:
            self.calls += 1
        return self.layer(x)


class SequenceFirst(Gru):
    """It takes the examples of a minibatch for the steps of a sequence."""

    def __init__(self, features: int, n_classes: int) -> None:
        super().__init__(n_classes, features)
        self.rnn = nn.GRU(features, 12)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.rnn(x)[0])


class Declared(nn.Module):
    """It declares its units: rightly, or all weights as units of their own."""

    def __init__(self, features: int, classes: int, right: bool = True) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(features, 3, bias=False), nn.Linear(3, classes, bias=False)
        hidden = features + torch.arange(3)
        first = torch.stack((torch.arange(features).tile(3), hidden.repeat_interleave(features)))
        out = torch.stack((hidden.tile(classes), torch.full((3 * classes,), -1)))
        self.units = torch.cat((first, out), dim=1)
        if not right:
            self.units = torch.arange(self.units.shape[1]).tile(2, 1)
        self.place_of = self.units[0]

    def forward(self, x: Tensor) -> Any:
        return self.out(torch.sinh(self.first(x)))


def smoothed(scores: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels, averaged."""
    return functional.cross_entropy(scores, y, label_smoothing=0.1)


def spread(scores: Tensor, y: Tensor) -> Tensor:
    """A number that is no mean over examples."""
    return scores.std()


ready = Plain(64, 10)


def nothing(features: int) -> int:
    """Return no module."""
    return features


def closure() -> Any:
    """Return a function inside a function."""

    def inner(features: int, classes: int) -> nn.Module:
        return Plain(features, classes)

    return inner


class Tokens(Source):
    """Sequences of eight integers below 20, of three classes."""

    def load(self) -> Dataset:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 20, (300, 8)).astype(np.float32)
        y = (x.sum(axis=1) // 10 % 3).astype(np.int64)
        train, test = Split(x[:200], y[:200]), Split(x[200:], y[200:])
        return Dataset(*self.hold_out(train), test, classes=3, vocabulary=20)


class Relu30(nn.Module):
    """The HGO paper's network, as `feed_forward` computes it in closed form."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, 30), nn.ReLU(), nn.Linear(30, classes))

    def forward(self, x: Tensor) -> Any:
        return self.layers(x)


class Doubled(Softmax):
    """Its gradients are twice what they should be."""

    def gradients(self, *arguments: Any) -> Tensor:
        return 2.0 * super().gradients(*arguments)


class Unweighted(Softmax):
    """It does not look at weights."""

    def gradients(self, params: Tensor, x: Tensor, y: Tensor, *_: Any) -> Tensor:
        return super().gradients(params, x, y)


class Mixing(Softmax):
    """A worker's gradient has a part of another's."""

    def gradients(self, *arguments: Any) -> Tensor:
        exact = super().gradients(*arguments)
        return exact + 0.01 * (exact.roll(1, dims=1) - exact)


class Neighbourly(Softmax):
    """A cell's gradient has a part of another's."""

    def gradients(self, *arguments: Any) -> Tensor:
        exact = super().gradients(*arguments)
        return exact + 1e-3 * (exact.roll(1, dims=0) - exact)


class Forgetful(Softmax):
    """It counts its calls."""

    calls = 0

    def gradients(self, *arguments: Any) -> Tensor:
        self.calls += 1
        return super().gradients(*arguments) + 1e-6 * self.calls


class Wandering(Softmax):
    """Its initial parameters are other ones each time."""

    calls = 0

    def initial(self, rng: np.random.Generator) -> Tensor:
        self.calls += 1
        return super().initial(rng) + self.calls


def same(features: int, classes: int) -> nn.Module:
    """Return the same module each time."""
    return ready
