"""Questions about a policy folder, answered without a server: check, can-i, explain."""
