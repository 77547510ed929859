"""The API server behind the proxy: how it is reached, listed and followed. The only package that speaks to it."""
