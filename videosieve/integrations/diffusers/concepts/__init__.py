"""Concepts inside a running pipeline: how they enter each kind of block, and what is recorded of them."""
