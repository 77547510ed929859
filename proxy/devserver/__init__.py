"""A small in-memory API server for the demo and for fast tests. Shares only the `api` vocabulary with the proxy."""
