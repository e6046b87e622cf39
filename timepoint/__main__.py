"""`python -m timepoint` is `timepoint`."""

from timepoint.cli import main

if __name__ == "__main__":
    main()
