"""The catalogue of methods."""

from videosieve.methods import METHODS
from videosieve.planning.catalogue import common_settings, describe_methods, describe_reuse


def test_the_catalogue_names_every_method_with_its_parameters():
    entries = {entry.name: entry for entry in describe_methods()}
    assert list(entries) == list(METHODS)
    assert "arXiv:2502.01776" in entries["svg"].paper
    assert "density=0.3" in entries["svg"].parameters
    assert entries["dense"].paper == ""
    assert "dense_steps=0.2" in common_settings()
    assert "arXiv:2408.12588" in describe_reuse().paper
    assert "reuse_range=2" in describe_reuse().parameters
