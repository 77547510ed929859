"""Watchkeeper: an authenticating RBAC proxy that serves filtered Kubernetes get, list and watch."""

__version__ = "0.1.0"
