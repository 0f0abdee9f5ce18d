"""The dashboard in a real browser, before real services."""
