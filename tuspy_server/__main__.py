"""`python -m tuspy_server` is `tuspy-server`."""

from tuspy_server.cli import main

if __name__ == "__main__":
    main()
