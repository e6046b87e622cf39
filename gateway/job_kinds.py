"""The kinds of jobs that the engine runs for a study that changed its patient (`gateway.workflow` has their steps)."""

REHOME = "rehome"
"""A study is analysed already and comes to another patient: its masks into that patient's frame, then as ever."""

RESTORE = "restore"
"""A study is back in a record that it was part of before: its results are made again, nothing is analysed."""

RETRACT = "retract"
"""What was sent out about the wrong person is taken back."""
