"""A folder for PYTHONPATH: its `sitecustomize` lets one service of a drill live at another time."""
