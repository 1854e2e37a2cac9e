"""`python -m poselift.cli`."""

from poselift.cli import main

raise SystemExit(main())
