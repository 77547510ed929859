"""What the proxy tells of itself: the audit log, metrics, health and logs. It decides nothing and knows no handler."""
