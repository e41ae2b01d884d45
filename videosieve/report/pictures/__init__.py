"""Figures for documents, by matplotlib: a sweep, a training, a tune, a head atlas, an inspection."""
