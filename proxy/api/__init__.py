"""The Kubernetes vocabulary: requests, options, selectors, objects, events, statuses. Pure: no I/O, no clock."""
