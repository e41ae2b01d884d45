"""How the bundled weights come about: what is shown when, the objective, the run and its exact resumption."""
