"""`python -m tunelang`."""

from tunelang.cli import main

main()
