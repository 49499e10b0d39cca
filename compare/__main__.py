"""`python -m compare`: what the page does, without a browser."""

import sys

from compare.cli import main

sys.exit(main())
