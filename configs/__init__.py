"""Configs: one documented experiment a file. ``get_config(arg)`` returns a ConfigDict; ``smoke`` makes it tiny."""
