"""`python -m symbackprop` is the command line."""

from symbackprop.cli import main

raise SystemExit(main())
