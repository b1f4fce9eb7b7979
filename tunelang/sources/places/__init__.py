"""Where models and data come from: one file a place, and the formats of data."""
