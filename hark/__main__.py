"""Makes `python -m hark` the same as `hark`."""

from hark.commands import main

main()
