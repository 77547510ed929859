"""`watchkeeper policy can-i` and `policy explain`: questions to the policy files, without a server.

Answers go to stdout. What keeps a question from being answered is one line on stderr and exit code 2.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

from proxy.api.status import StatusError
from proxy.authn.user import User, with_authenticated_group
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.findings import Severity
from proxy.policy.folder import PolicyFolderError, read_policy_folder
from proxy.policy.load import load_policies
from proxy.policytools.answer import ask
from proxy.policytools.can_i import answer_reviews, answer_text, question
from proxy.policytools.explain import explain, explanation_lines
from proxy.policytools.explain_requests import explain_requests, read_request
from proxy.policytools.namespace_manifests import read_namespaces

_CANNOT_ANSWER = 2


def _question_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of both commands: the policy, who asks, the namespaces' labels, many questions at once."""
    for option in reversed(
        [
            click.option("--policies", metavar="DIR", required=True, type=click.Path(path_type=Path)),
            click.option("--as", "name", metavar="USER", help="Who asks; `system:authenticated` is added."),
            click.option("--as-group", "groups", metavar="G", multiple=True, help="A group of the user; repeatable."),
            click.option("--as-uid", "uid", metavar="UID", default="", help="The user's UID."),
            click.option("--as-extra", "extra", metavar="KEY=VALUE", multiple=True, help="An extra value; repeatable."),
            click.option(
                "--namespaces",
                metavar="FILE",
                type=click.File("rb"),
                help="Namespace manifests, whose labels namespaceSelectors look at.",
            ),
            click.option("--batch", metavar="FILE|-", type=click.File("rb"), help="Questions as JSON, one a line."),
        ]
    ):
        command = option(command)
    return command


@click.command("can-i")
@click.argument("verb", required=False)
@click.argument("what", metavar="RESOURCE[.GROUP][/NAME]", required=False)
@click.option("-n", "--namespace", metavar="NS", default="", help="Ask in this namespace, else across all.")
@click.option("--subresource", metavar="S", default="", help="Ask about a subresource, such as `log`.")
@_question_options
def can_i_command(
    verb: str | None,
    what: str | None,
    namespace: str,
    subresource: str,
    policies: Path,
    name: str | None,
    groups: tuple[str, ...],
    uid: str,
    extra: tuple[str, ...],
    namespaces: BinaryIO | None,
    batch: BinaryIO | None,
) -> None:
    """Tell whether USER may do VERB on a resource, or on a URL path: `yes`, `yes (filtered)` or `no`, and why.

    Exits with 0 when it is allowed, with 1 when not, with 2 when there is no answer. With --batch each line in is the
    spec of a SubjectAccessReview, each line out has `allowed`, `filtered`, `reason` and `scope`; exits with 0.
    """
    if batch is not None:
        if verb is not None or namespace or subresource or name is not None or groups or uid or extra:
            raise click.UsageError("with --batch each line says who asks and what: give nothing else")
        _print_lines(answer_reviews(_state(policies, namespaces), _lines(batch)))
        return
    if verb is None or what is None:
        raise click.UsageError("give VERB and RESOURCE[.GROUP][/NAME], or --batch")
    user = _user(name, groups, uid, extra)
    try:
        attributes = question(verb, what, namespace=namespace, subresource=subresource)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    answer = ask(_state(policies, namespaces), user, attributes)
    click.echo(answer_text(answer))
    sys.exit(0 if answer.allowed else 1)


@click.command("explain")
@click.argument("target", required=False)
@click.option("--method", metavar="METHOD", default="GET", show_default=True, help="The request's method.")
@_question_options
def explain_command(
    target: str | None,
    method: str,
    policies: Path,
    name: str | None,
    groups: tuple[str, ...],
    uid: str,
    extra: tuple[str, ...],
    namespaces: BinaryIO | None,
    batch: BinaryIO | None,
) -> None:
    """Tell how the answer to a request for TARGET (`/api/v1/pods?watch=1`) comes about, rule by rule.

    With --batch each line in is {"method", "target"}, each line out has `request`, `status`, `message`, `allowed`,
    `filtered` and `scope`. Exits with 0 whatever the answer is, with 2 when there is none.
    """
    user = _user(name, groups, uid, extra)
    if batch is not None:
        if target is not None:
            raise click.UsageError("with --batch each line has its target: give none")
        _print_lines(explain_requests(_state(policies, namespaces), user, _lines(batch)))
        return
    if target is None:
        raise click.UsageError("give TARGET, or --batch")
    try:
        _, attributes = read_request(method, target)
    except StatusError as refusal:
        click.echo(f"answer: no\nreason: the request is refused as it stands: {refusal.code} {refusal.message}")
        return
    for line in explanation_lines(explain(_state(policies, namespaces), user, attributes)):
        click.echo(line)


def _user(name: str | None, groups: tuple[str, ...], uid: str, extra: tuple[str, ...]) -> User:
    if not name:
        raise click.UsageError("give --as USER")
    values: dict[str, list[str]] = {}
    for item in extra:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--as-extra `{item}` is not of the form KEY=VALUE")
        values.setdefault(key, []).append(value)
    return with_authenticated_group(
        User(
            name=name,
            uid=uid,
            groups=tuple(dict.fromkeys(groups)),
            extra=tuple((key, tuple(values[key])) for key in sorted(values)),
        )
    )


def _state(policies: Path, namespaces: BinaryIO | None) -> AuthorizationState:
    """The state a server would be in now. Exits when the policy or the namespaces cannot be read."""
    try:
        loaded = load_policies(read_policy_folder(policies))
    except PolicyFolderError as error:
        _give_up(str(error))
    if loaded.has_errors:
        for finding in loaded.findings:
            if finding.severity is Severity.ERROR:
                click.echo(str(finding), err=True)
        _give_up(f"{policies}: the policy has errors, so it answers no question")
    try:
        labels = None if namespaces is None else read_namespaces(namespaces.read())
    except ValueError as error:
        _give_up(f"{getattr(namespaces, 'name', '-')}: {error}")
    snapshot = compile_policy(loaded.policy)
    return AuthorizationState(snapshot=snapshot, namespaces=labels, effective_at=time.time(), activation=1)


def _give_up(message: str) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(_CANNOT_ANSWER)


def _lines(batch: BinaryIO) -> Iterator[bytes]:
    for line in batch:
        yield line.rstrip(b"\r\n")


def _print_lines(lines: Iterator[bytes]) -> None:
    """Each line as soon as it is known, so that another program may ask one question at a time."""
    for line in lines:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
