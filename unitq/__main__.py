"""`python -m unitq` is the `unitq` command."""

from unitq.cli.main import main

main()
