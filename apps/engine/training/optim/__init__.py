"""How weights change: optimizers, schedules, rates by depth, averages."""
