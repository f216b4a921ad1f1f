"""Tabular hospital data with natural groups.

Breast tumours, 569 of them with 30 measurements each (from scikit-learn). Here they come from
twelve hospitals of different sizes, case mixes and instruments: what each holds is a group, which
the partition `natural` keeps whole. Three are Byzantine. What does a robust rule cost where honest
hospitals differ, and what does it save?
"""

import numpy as np
from sklearn.datasets import load_breast_cancer

import hgobench

HOSPITALS = 12


def tumours(drift=0.3):
    """Return measurements (N, 30), benign or malignant, and the hospital of each."""
    rng = np.random.default_rng(0)  # the same in every process
    signs, benign = load_breast_cancer(return_X_y=True)
    signs = (signs - signs.mean(axis=0)) / signs.std(axis=0)
    size = rng.dirichlet(np.full(HOSPITALS, 5.0))
    mix = rng.beta(3.0, 2.0, HOSPITALS)  # how many of its cases are benign
    chance = size * np.where(benign[:, None] == 1, mix, 1.0 - mix)
    chance /= chance.sum(axis=1, keepdims=True)
    hospital = np.array([rng.choice(HOSPITALS, p=p) for p in chance])
    instruments = rng.normal(0.0, drift, (HOSPITALS, signs.shape[1]))
    return signs + instruments[hospital], benign, hospital


SETTINGS = {
    "data": "hospitals:tumours", "partition": "natural", "model": "logistic",
    "workers": HOSPITALS, "sampled": HOSPITALS, "byzantine": 3, "batch_size": 16,
    "algorithm": "sgd", "hardware": "powerful", "rounds": 40, "learning_rate": 0.5,
    "rule": ["average", "median", "geometric_median", "nnm+median"],
    "attack": ["none", "foe", "mimic", "label_flip"], "seed": [0, 1, 2, 3, 4, 5],
}  # fmt: skip

if __name__ == "__main__":
    _, benign, hospital = tumours()
    for one in range(HOSPITALS):
        cases = benign[hospital == one]
        print(f"hospital {one:2}: {len(cases):3} tumours, {cases.mean():4.0%} benign")
    outcome = hgobench.run_suite("smoke", settings=SETTINGS, out="hospitals")
    print(outcome)
    outcome.plot("heat").save("hospitals.png")
