"""Where orders go. `port` is what a venue must offer; `paper` is the default; ccxt is imported nowhere else, and not on paper."""
