"""(f, κ)-robust averaging: what the proofs for several rules share.

A rule F is (f, κ)-robust if for every n complete vectors and every S of n - f of them

    ‖F(x) - x̄_S‖² <= κ · 1/|S| Σ_{i ∈ S} ‖x_i - x̄_S‖²

(Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by Mixing: A Recipe for Optimal
Byzantine ML under Heterogeneity", AISTATS 2023). Below h = n - f is the size of S, V the variance
on the right, x̄_S is 0, and the other f vectors are the attackers'. No κ is below f/(n - 2f).

What is used throughout:

- Coordinate by coordinate: a rule that treats each coordinate by itself has in every dimension the
  κ that it has in one, as both sides are sums over coordinates.
- The mean of a part: k of the vectors of S have a mean with ‖·‖² <= (h - k)/k·V.
- About any point: ‖F(x) - g‖² <= (κ + 1) · 1/h Σ_{i ∈ S} ‖x_i - g‖² for every g, and no less than
  κ + 1 will do for all g: with g = x̄_S - a the right is V + ‖a‖², the left at most (√(κV) + ‖a‖)².
"""

from __future__ import annotations

from math import inf, sqrt


def lower_bound(n: int, f: int) -> float:
    """Return f/(n - 2f), below which no rule has a κ; inf unless n > 2f.

    Let n - f vectors be 0 and f be 1. The rule's answer a has to be right for the S of zeros, so
    that a = 0, and for every other S, such as that of n - 2f zeros and all ones, whose mean is
    f/(n - f) and whose variance is f(n - 2f)/(n - f)².

    Example:
        >>> lower_bound(10, 2)
        0.3333333333333333
    """
    return f / (n - 2 * f) if n > 2 * f else inf


def of_median(n: int, f: int) -> float:
    """Return the least κ of the median, coordinate by coordinate: h/t - 1, t = ⌊n/2⌋ + 1 - f.

    At least t honest values lie as far out as the answer M (of an even number ⌊n/2⌋ - f as far as
    the upper middle value and one more as far as the lower, which costs least where both are M).
    As they add up to 0, hV >= tM² + (tM)²/(h - t), which is reached.

    Example:
        >>> of_median(11, 2)
        1.25
    """
    return (n - f) / (n // 2 + 1 - f) - 1.0


def around(n: int, f: int, centre: float) -> float:
    """Return κ of the mean of the n - f values nearest to a centre, coordinate by coordinate.

    Of b <= f attackers' values z that are taken each is as near to the centre c as one of the b
    honest values e that are not, so that the answer Σ (z - e)/h is at most 2/h Σ |e - c|; that is
    4f/h·(1 + √(f·κ_c/h))². And it is as near to c as the honest values in the square mean are:
    (√(1 + κ_c) + √κ_c)². The lower of the two holds.

    Args:
        n, f: of the values.
        centre: κ_c of the centre.
    """
    h = n - f
    swapped = 4.0 * f / h * (1.0 + sqrt(f * centre / h)) ** 2
    return min(swapped, (sqrt(1.0 + centre) + sqrt(centre)) ** 2)


def of_best_scores(n: int, f: int, m: int) -> float:
    """Return κ of the mean of the m vectors of best Krum scores, n >= 2f + 3 and m <= n - f - 2.

    A score sums n - f - 2 = h - 2 squared distances, so that the honest ones are on average at most
    2h·(h - 2)/(h - 1)·V, and the m best on average no more. Of a chosen x_k and its neighbours at
    least p = h - f - 1 are honest, from whose mean it is √(s_k/p) away at most, and that mean from
    0 at most √((f + 1)/p·V). So κ <= (√(2h(h - 2)/(h - 1)) + √(f + 1))²/p. If b <= f of those
    chosen are attackers, the others are part of S, which for large m is less.
    """
    h = n - f
    p = h - f - 1
    scores = 2.0 * h * (h - 2) / (h - 1)
    each = (sqrt(scores) + sqrt(f + 1)) / sqrt(p)

    def with_attackers(b: int) -> float:
        honest = m - b
        apart = sqrt(b * m * scores / p) + b * sqrt((f + 1) / p)
        return min(each, (sqrt(honest * (h - honest)) + apart) / m)

    return max(with_attackers(b) for b in range(min(f, m) + 1)) ** 2
