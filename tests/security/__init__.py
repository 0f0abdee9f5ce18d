"""An attacker who reaches the bus, and whatever else docs/threat-model.md promises."""
