"""The command line: arguments, exit codes, printing.

Exit codes: 0 fine, 1 the run failed, 2 usage, 3 the spec is wrong, 4 a backend, device or data
set is missing, 5 a check failed, 130 interrupted.
"""

from resnetc.cli.main import main

__all__ = ["main"]
