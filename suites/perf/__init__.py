"""Benchmarks for asv (``tools/asv run --python=same --quick``), and the contest with peers."""
