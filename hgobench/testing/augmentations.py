"""The laws of augmentations: how workers change the examples of a minibatch.

A law is a function of a `Changing`: an augmentation, with data that it fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hgobench.data.augmentations import Augmentation
from hgobench.data.augmentations.base import wrong_examples
from hgobench.data.base import Dataset, Split
from hgobench.errors import InputError
from hgobench.lazy import Tensor, torch

from .laws import SEEDS, Law, Trial, Verdict, global_state_is_left_alone, table, try_trial

EXAMPLES = (1, 6)  # of a minibatch


@dataclass(kw_only=True)
class Changing(Trial[Augmentation]):
    """An augmentation under trial.

    Attributes:
        shapes: of an example, as it sees them.
    """

    shapes: tuple[tuple[int, ...], ...]

    def change(self, augmentation: Augmentation, x: Tensor, seed: int = SEEDS[0]) -> object:
        """Return what it makes of examples."""
        with self.calling(augmentation, "augment", seed=seed):
            return augmentation(x.clone(), np.random.default_rng(seed))

    def minibatches(self) -> Iterator[Tensor]:
        """Yield examples, (s, ..)."""
        for shape in self.shapes:
            for size in EXAMPLES:
                rng = np.random.default_rng(size)
                yield torch.from_numpy(rng.random((size, *shape), dtype=np.float32))


def examples_stay_examples(trial: Changing) -> None:
    """As many examples of the same shape and type come back, and their numbers are finite."""
    for x in trial.minibatches():
        if problem := wrong_examples(trial.change(trial.make(), x), x):
            raise AssertionError(problem)


def seed_determines_the_change(trial: Changing) -> None:
    """The same random numbers change the same examples alike, whatever was changed before."""
    for x in trial.minibatches():
        first, other = trial.make(), trial.make()
        seen = trial.change(first, x)
        trial.change(first, x + 1.0, SEEDS[1])
        for who, again in (("the same", first), ("another", other)):
            changed = trial.change(again, x)
            if not torch.equal(torch.as_tensor(changed), torch.as_tensor(seen)):
                raise AssertionError(
                    f"x {tuple(x.shape)}: {who} instance changes them otherwise by the same "
                    "random numbers: draw from the rng that it is given"
                )


AUGMENTATION_LAWS: dict[str, Law] = table(
    examples_stay_examples, seed_determines_the_change, global_state_is_left_alone
)


def _problems() -> Iterator[tuple[Dataset, tuple[int, ...]]]:
    """Yield data of images, with one channel and with three, and of numbers; and their shapes."""
    for shape, image in (((1, 6, 6), (6, 6)), ((3, 6, 6), (3, 6, 6)), ((9,), None)):
        features = np.zeros((4, int(np.prod(shape))), dtype=np.float32)
        split = Split(features, np.array([0, 1, 0, 1]), image=image)
        yield Dataset(split, split.take(np.arange(0)), split, classes=2), shape


def try_augmentation(specification: str) -> Iterator[Verdict]:
    """Check all laws of an augmentation, on images and numbers, as far as it fits them.

    Raises:
        InputError: there is none of this name, or it fits none of these.
    """
    trial = Changing(kind="augment", name=specification, shapes=())
    refusal: InputError | None = None
    for data, shape in _problems():
        augmentation = trial.make()
        try:
            with trial.calling(augmentation, "fits"):
                augmentation.fits(data)
        except InputError as error:
            refusal = refusal or error
        else:
            trial.shapes += (shape,)
    if refusal and not trial.shapes:
        raise refusal
    return try_trial(trial, AUGMENTATION_LAWS)
