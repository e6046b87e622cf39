"""The steps of a study's way, one module each. A step reads ids, does one thing, and may be run again at any time."""
