"""Benchmarks under a hashed contract."""
