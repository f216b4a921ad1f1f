"""The worst case of a row: what it is, how it is looked for, and what is reported of it.

The worst case is the minimum over attacks of the mean over seeds: the attacker knows the row, not
the seed. Parameters and attacks are chosen on selection seeds and validation examples
(`selection`); the attacks that were the worst run on fresh seeds, and test examples of those are
reported (`verdict`).
"""
