"""`watchkeeper serve`: the proxy itself. Flag names are kube-apiserver's own where it has them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from proxy.cli.processes import complain, run_one, run_workers
from proxy.cli.supervisor import EXIT_CANNOT_START
from proxy.config import (
    ServeConfig,
    TelemetryConfig,
    UpstreamFlags,
    host_port,
    read_authentication,
    read_continue_key,
    service_account_config,
    upstream_config,
)
from proxy.server.limits import Limits
from proxy.server.listener import ServingError
from proxy.telemetry.json_log import formatter
from proxy.upstream.errors import ConfigError

_FILE = click.Path(dir_okay=False, path_type=Path)


def _read_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Makes what the file says the defaults of the flags, so that flags win."""
    if value is None:
        return None
    try:
        settings = yaml.safe_load(value.read_bytes())
    except OSError as error:
        raise click.ClickException(f"--config: cannot read `{value}`: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise click.ClickException(f"--config: `{value}` is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise click.ClickException(f"--config: `{value}` must be a mapping of flag names without dashes in front")
    flags = {option.removeprefix("--"): each for each in context.command.params for option in each.opts}
    unknown = sorted(str(key) for key in settings if key not in flags or key == "config")
    if unknown:
        raise click.ClickException(f"--config: `{value}`: unknown setting `{unknown[0]}`; settings are named as flags")
    context.default_map = {flags[key].name or "": _as_given(flags[key], each) for key, each in settings.items()}
    return value


def _as_given(flag: click.Parameter, setting: Any) -> Any:
    """One word for a flag that may be repeated is that flag given once."""
    is_repeatable = isinstance(flag, click.Option) and flag.multiple
    return [setting] if is_repeatable and isinstance(setting, str) else setting


@click.command()
@click.option(
    "--config",
    type=_FILE,
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="YAML with the same names as the flags; flags win.",
)
@click.option(
    "--policies", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the policy files."
)
@click.option("--upstream-kubeconfig", type=_FILE, help="How to reach the API server, as a kubeconfig.")
@click.option("--upstream", help="URL of the API server. Without it and a kubeconfig: the pod's service account.")
@click.option("--upstream-ca-file", type=_FILE, help="CA of the API server's certificate.")
@click.option("--upstream-client-cert-file", type=_FILE, help="Client certificate towards the API server.")
@click.option("--upstream-client-key-file", type=_FILE, help="Its key.")
@click.option(
    "--upstream-token-file", type=_FILE, help="Bearer token towards the API server, read again as it changes."
)
@click.option("--bind-address", default="0.0.0.0", show_default=True, help="The address to listen on.")  # noqa: S104
@click.option(
    "--secure-port",
    type=click.IntRange(0, 65535),
    default=8443,
    show_default=True,
    help="The port to listen on; 0 takes a free one.",
)
@click.option("--tls-cert-file", type=_FILE, required=True, help="The serving certificate, with its chain.")
@click.option("--tls-private-key-file", type=_FILE, required=True, help="Its key.")
@click.option("--client-ca-file", type=_FILE, help="Client certificates of this CA authenticate.")
@click.option("--token-auth-file", type=_FILE, help="Static tokens, kube-apiserver's CSV. For development.")
@click.option("--authentication-config", type=_FILE, help="An AuthenticationConfiguration with JWT issuers.")
@click.option(
    "--service-account-issuer",
    "service_account_issuers",
    multiple=True,
    help="The issuer of the cluster's service account tokens, as the API server has it. May be repeated.",
)
@click.option(
    "--service-account-key-file",
    "service_account_key_files",
    type=_FILE,
    multiple=True,
    help="Keys of service account tokens, in PEM. May be repeated. Without it: the keys the API server publishes.",
)
@click.option(
    "--api-audiences",
    multiple=True,
    help="Whom bearer tokens must be meant for, with commas between. Without it: the service account issuers.",
)
@click.option(
    "--token-review",
    is_flag=True,
    help="Have the API server review bearer tokens that nothing here knows, and review those of open streams again.",
)
@click.option(
    "--token-review-cache-ttl",
    type=click.FloatRange(min=1, max=300),
    default=10.0,
    show_default=True,
    help="Seconds an answer of --token-review counts; then it is asked for again, for open streams, too.",
)
@click.option(
    "--list-mode",
    type=click.Choice(["filter", "strict"]),
    default="filter",
    show_default=True,
    help="What a list or watch that is partly allowed gets: its visible part, or 403 as Kubernetes.",
)
@click.option(
    "--upstream-identity",
    type=click.Choice(["caller", "proxy"]),
    default="caller",
    show_default=True,
    help="In whose name writes and subresources go upstream: the caller's, by impersonation, or the proxy's own.",
)
@click.option(
    "--max-watches-per-user",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Watches (and other long-running requests) one user may have open; more get 429.",
)
@click.option(
    "--max-requests-per-user",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    help="Other requests one user may have in flight; more get 429.",
)
@click.option(
    "--max-cache-bytes",
    type=click.IntRange(min=1),
    help="Bound of all watch caches together. Those nobody uses end first, then the one that does not fit.",
)
@click.option(
    "--continue-key-file",
    type=_FILE,
    help="A secret of 32 bytes or more that replicas share, so that each can go on with a list that another began.",
)
@click.option(
    "--replica-lag",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds by which another replica may follow a change of policy later than this one; 0: there is none.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the port, for as many cores. Limits per user are those of each.",
)
@click.option(
    "--watch-bookmark-interval",
    type=click.FloatRange(min=0.05),
    default=60.0,
    show_default=True,
    help="Seconds between two bookmarks of a watch.",
)
@click.option(
    "--audit-log-path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A line for each request in audit.k8s.io/v1 is appended to this file; - is the standard output.",
)
@click.option(
    "--audit-log-strict",
    is_flag=True,
    help="End the process when an audit event cannot be written, instead of counting it as lost.",
)
@click.option("--metrics-bind-address", metavar="HOST:PORT", help="Serve /metrics here, over plain HTTP.")
@click.option(
    "--health-probe-bind-address", metavar="HOST:PORT", help="Serve /livez and /readyz here, over plain HTTP."
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The form of the log."
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def serve(verbose: bool, log_format: str, workers: int, **flags: Any) -> None:
    """Serve filtered get, list and watch in front of an API server."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    try:
        config = _config(flags)
        status = run_one(config, None) if workers == 1 else run_workers(config, workers)
    except (ConfigError, ServingError) as error:
        complain(error)
        status = EXIT_CANNOT_START
    if status:
        raise SystemExit(EXIT_CANNOT_START)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """A request that is cut off since the process ends is no error that an operator should read about."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _config(flags: dict[str, Any]) -> ServeConfig:
    """Raises ConfigError."""
    service_accounts = service_account_config(flags["service_account_issuers"], flags["service_account_key_files"])
    audiences = tuple(audience for each in flags["api_audiences"] for audience in each.split(",") if audience)
    config = ServeConfig(
        policies=flags["policies"],
        upstream=upstream_config(
            UpstreamFlags(
                kubeconfig=flags["upstream_kubeconfig"],
                url=flags["upstream"],
                ca_file=flags["upstream_ca_file"],
                client_cert_file=flags["upstream_client_cert_file"],
                client_key_file=flags["upstream_client_key_file"],
                token_file=flags["upstream_token_file"],
            ),
            os.environ,
        ),
        bind_address=flags["bind_address"],
        secure_port=flags["secure_port"],
        tls_cert_file=flags["tls_cert_file"],
        tls_private_key_file=flags["tls_private_key_file"],
        client_ca_file=flags["client_ca_file"],
        token_auth_file=flags["token_auth_file"],
        authentication=read_authentication(flags["authentication_config"], service_accounts),
        service_accounts=service_accounts,
        api_audiences=audiences or (service_accounts.issuers if service_accounts is not None else ()),
        token_review_ttl_seconds=flags["token_review_cache_ttl"] if flags["token_review"] else None,
        strict=flags["list_mode"] == "strict",
        impersonate=flags["upstream_identity"] == "caller",
        limits=Limits(
            max_open_watches=flags["max_watches_per_user"], max_requests_in_flight=flags["max_requests_per_user"]
        ),
        replica_lag_seconds=flags["replica_lag"],
        continue_key=read_continue_key(flags["continue_key_file"]),
        max_cache_bytes=flags["max_cache_bytes"],
        bookmark_interval_seconds=flags["watch_bookmark_interval"],
        telemetry=TelemetryConfig(
            audit_log_path=flags["audit_log_path"],
            audit_log_strict=flags["audit_log_strict"],
            metrics_address=host_port(flags["metrics_bind_address"], "--metrics-bind-address"),
            health_address=host_port(flags["health_probe_bind_address"], "--health-probe-bind-address"),
        ),
    )
    if config.telemetry.audit_log_strict and config.telemetry.audit_log_path is None:
        raise ConfigError("--audit-log-strict is of no use without --audit-log-path")
    ways = (config.client_ca_file, config.token_auth_file, config.authentication, config.service_accounts)
    if not any(ways) and config.token_review_ttl_seconds is None:
        raise ConfigError(
            "nobody could authenticate: give --client-ca-file, --service-account-issuer, --token-review,"
            " --authentication-config or --token-auth-file"
        )
    return config
