"""Applications: a dataset, a head, metrics and defaults each; the engine they share; the verbs."""
