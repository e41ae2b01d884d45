"""Tiny pipelines in whole, of models whose transformers are beside this room."""
