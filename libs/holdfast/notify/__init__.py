"""Calling somebody, through Apprise: the only folder that imports it. Addresses hold secrets and are never shown whole."""
