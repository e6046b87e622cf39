"""De-identification of MR studies and their results: dataset in, dataset and ledger out.

Default-deny: an attribute passes only when the IOD of its SOP class names it at that path (PS3.3), and then the action
of PS3.15 Annex E and of the profile is applied to it. `engine.deidentify` is the core, `folder` works on directories,
`verification` searches what was written for what must not be there and shares no rule with the engine.
"""
