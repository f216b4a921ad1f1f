"""The paper, reproduced: its figures, its claims, and its authors' quirks."""

CITATION = (
    'K. Boubouh, A. Boussetta, N. Gupta, A. Maurer, R. Pinot, "Democratizing Machine Learning: '
    'Resilient Distributed Learning with Heterogeneous Participants", 41st International Symposium '
    "on Reliable Distributed Systems (SRDS), 2022, pp. 94-120"
)
