"""From a derivation to LaTeX, Markdown, HTML, text and JSON."""
