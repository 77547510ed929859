"""`python -m proxy`: the `watchkeeper` command."""

from proxy.cli.main import main

main()
