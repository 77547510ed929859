"""The entry point: one group, a command a file."""

from __future__ import annotations

import click

from proxy import __version__
from proxy.cli.certs import certs
from proxy.cli.demo import demo
from proxy.cli.policy import policy
from proxy.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="watchkeeper")
def main() -> None:
    """An authenticating RBAC proxy that serves filtered Kubernetes get, list and watch."""


for _command in (serve, demo, certs, policy):
    main.add_command(_command)
