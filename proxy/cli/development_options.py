"""Options that the commands with the development API server have in common."""

from __future__ import annotations

from pathlib import Path

import click

certificates_option = click.option(
    "--certs",
    "certificates",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs/dev"),
    show_default=True,
    help="The folder of the development PKI, created where it is missing.",
)

rate_option = click.option(
    "--rate",
    type=click.FloatRange(min=0, max=1000),
    default=5.0,
    show_default=True,
    help="Changes a second in the cluster; 0: none but what clients make.",
)

seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed makes the same traffic."
)
