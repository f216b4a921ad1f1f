"""Label flip: honest gradients of wrong labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hgobench.lazy import Tensor

from .base import Attack, require_classes

if TYPE_CHECKING:
    from hgobench.data.base import Dataset


class LabelFlip(Attack):
    """The Byzantine workers follow the protocol on poisoned data: label y becomes K - 1 - y.

    K is the number of classes; if it is odd the middle one stays. Each worker's gradient (or
    momentum) is that of its own minibatch with flipped labels, as long as its device gets.

    What the attacker needs: to change the labels of its own data; nothing else.

    Source: the label-flipping attack of Biggio, Nelson, Laskov, "Support Vector Machines Under
    Adversarial Label Noise", ACML 2011, as used in Allen-Zhu et al., ICLR 2021.
    """

    sees = "own"
    columnwise = True
    colludes = False
    paper = "Biggio et al., ACML 2011; Allen-Zhu et al., ICLR 2021"
    formula = "g_own of (x, K - 1 - y)"
    control = "data"
    poisons = True

    def fits(self, data: Dataset) -> None:
        """Refuse data without classes."""
        require_classes(data.classes)

    def poison(self, features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Flip the labels."""
        require_classes(classes)
        return features, classes - 1 - labels
