"""What can be known before a model is loaded: what there is to choose, what this machine can run, what it will cost."""
