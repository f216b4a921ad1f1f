"""The paper, reproduced: its figures, its claims, and its authors' quirks."""
