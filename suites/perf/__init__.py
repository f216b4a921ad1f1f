"""Benchmarks for asv (``hgobench bench asv``), and the contest with peers."""
