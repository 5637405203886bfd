"""Photos of one trip together: what was learned of their order, and where their neighbours in time were."""
