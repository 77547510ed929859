"""`watchkeeper policy`: tools for the policy files.

Findings go to stdout, one a line as a compiler prints them; the summary goes to stderr.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from proxy.cli.policy_questions import can_i_command, explain_command
from proxy.policy.findings import Severity
from proxy.policy.folder import PolicyFolderError, read_policy_folder
from proxy.policytools.check import CheckResult, check


@click.group()
def policy() -> None:
    """Check policy files and ask them questions."""


for _command in (can_i_command, explain_command):
    policy.add_command(_command)


@policy.command("check")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def check_command(folder: Path, strict: bool) -> None:
    """Tell every mistake in the policy files of DIR, as DIR/file:line:column.

    Exits with 1 when there is an error (with --strict also for a warning), else with 0.
    """
    try:
        files = read_policy_folder(folder)
    except PolicyFolderError as error:
        raise click.ClickException(str(error)) from error
    result = check(files, time.time())
    for finding in result.findings:
        click.echo(f"{folder}/{finding}")
    click.echo(_summary(result), err=True)
    failing = result.count(Severity.ERROR) + (result.count(Severity.WARNING) if strict else 0)
    sys.exit(1 if failing else 0)


def _summary(result: CheckResult) -> str:
    objects = f"{_counted(result.roles, 'role')} and {_counted(result.bindings, 'binding')}"
    errors, warnings = (_counted(result.count(severity), severity.value) for severity in Severity)
    return f"{_counted(result.files, 'file')} with {objects}: {errors}, {warnings}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
