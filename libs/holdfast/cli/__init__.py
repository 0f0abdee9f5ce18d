"""What a person types: `holdfast COMMAND`. Each module here registers its commands in `main.py`."""
