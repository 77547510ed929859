"""Who is calling: certificate or token, keys and `now` in, a User out. Pure: keys and bytes are arguments."""
