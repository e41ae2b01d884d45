"""The prefill of a language model, dense and sparse: seconds, density, recall, and what the answers lose by it."""
