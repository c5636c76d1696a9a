"""`python -m galenic.cli`, for launchers such as torchrun that start a module."""

from galenic.cli.door import main

main()
