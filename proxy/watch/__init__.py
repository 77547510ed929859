"""The watch core: Changes kept in a history, projected once per view, delivered to sessions. Pure: told `now`."""
