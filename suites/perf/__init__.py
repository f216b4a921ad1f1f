"""Benchmarks for asv: ``asv run --python=same --quick``."""
