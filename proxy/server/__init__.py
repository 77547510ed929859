"""The serving side: TLS, the chain every request passes, one handler for each kind of request."""
