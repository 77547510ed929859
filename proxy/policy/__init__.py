"""The policy files: their model, how they are read with positions, and how they compile into a PolicySnapshot."""
