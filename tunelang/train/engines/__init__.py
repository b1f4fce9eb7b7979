"""How the work of a step is shared by several processes; one file an engine."""
