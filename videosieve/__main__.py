"""`python -m videosieve` is the command line."""

from videosieve.cli import main

if __name__ == "__main__":
    main()
