"""The search for a recipe on a model and a machine: look, screen, measure, check; `search` does without a model."""
