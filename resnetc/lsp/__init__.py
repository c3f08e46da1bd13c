"""The language server: what an editor asks of a spec, answered from the compiler itself.

positions      offsets to the editor's lines and columns, and back
documents      open texts over the files on disk; parsing that survives half-typed text
analysis       a text with all that is known of it: program, names, findings, shapes by row
symbols        which name means what
server         the protocol; the only file that talks
Every other file is one feature: functions from an analysis to what the protocol sends.
"""
