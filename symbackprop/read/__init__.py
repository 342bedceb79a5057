"""From LaTeX and the shell-safe short form to goals; nothing is evaluated while reading."""
