"""Verbs about language models."""
