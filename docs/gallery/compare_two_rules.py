"""Compare two rules honestly.

Not one run under one attack: the same seeds, data, devices and draws for both, the worst case over
attacks, and an interval for the difference.
"""

from tempfile import TemporaryDirectory

import hgobench

RULES = ("trimmed_mean", "geometric_median")
SETTINGS = {
    "rule": list(RULES),
    "algorithm": "hgo",
    "byzantine": 3,
    "rounds": 30,
    "seed": [0, 1, 2, 3, 4, 5],  # with fewer nothing can be told from chance
}

if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        outcome = hgobench.run_suite(
            "quick", settings=SETTINGS, out=folder, jobs=1, progress=False, say=lambda line: None
        )
        (board,) = outcome.boards()
        for row in board.rows:
            if row.rule in RULES:
                print(f"{row.label}: {row.worst.mean:.3f} under {row.worst_attack}")
        compared = hgobench.compare(folder, a={"rule": RULES[0]}, b={"rule": RULES[1]})
        (worst,) = compared.rows
        print(
            f"worst case, {RULES[1]} less {RULES[0]}: {worst.difference:+.3f} "
            f"({worst.estimate.low:+.3f} to {worst.estimate.high:+.3f}), p = {worst.p:.3f}"
        )
        print(f"better: {dict(zip('AB', RULES, strict=True)).get(worst.verdict, worst.verdict)}")
        for line in compared.attacks:  # p-values are adjusted for all five of them (Holm)
            print(f"  under {line.attack:27} {line.difference:+.3f}, p = {line.p:.3f}")
