"""The language server: features are functions over a text and what was found in it.

Only `server.py`, `session.py` and `convert.py` know the protocol; everything else speaks of spans.
"""
