"""Measuring: one process per backend, rounds interleaved, medians with their confidence.

Nothing here imports a framework until a worker process does.
"""
