"""`python -m resnetc`."""

from resnetc.cli import main

main()
