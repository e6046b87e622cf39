"""The commands of `timepoint`, a module for each group. Heavy imports stand inside the commands that need them."""
