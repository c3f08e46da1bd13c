"""Backends: one folder each, found late by name."""
