"""The entry point: one group, a command a file."""

from __future__ import annotations

import click

from proxy import __version__
from proxy.cli.certs import certs
from proxy.cli.demo import demo
from proxy.cli.devserver import devserver
from proxy.cli.policy import policy
from proxy.cli.policy_questions import can_i_command, explain_command
from proxy.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="watchkeeper")
def main() -> None:
    """An authenticating RBAC proxy that serves filtered Kubernetes get, list and watch."""


for _question in (can_i_command, explain_command):
    policy.add_command(_question)
for _command in (serve, demo, devserver, certs, policy):
    main.add_command(_command)
