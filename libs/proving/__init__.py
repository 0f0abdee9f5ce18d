"""What shows that Holdfast keeps its promises: an independent auditor, a simulator, bugs planted to be found."""
