"""The command line: one thin file a command; only `door` turns errors into exit statuses."""
