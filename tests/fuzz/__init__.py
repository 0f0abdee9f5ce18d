"""Every decoder against anything: with Hypothesis in the suite, with atheris by hand."""
