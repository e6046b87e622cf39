"""Training of the brain extraction network on synthetic heads."""
