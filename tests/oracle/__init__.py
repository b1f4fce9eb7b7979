"""What our own trainer code really keeps in memory, measured without memory: see `__main__`."""
