"""The command line. It reads the same events as the page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from compare import cli
from compare.bench import cli as bench_cli
from compare.errors import InvalidRequest, ModelNotLoaded, RunFailed
from compare.study import cli as study_cli

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0; 2 for an error, printed as one sentence; 130 if stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m compare", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    cli.add_run(commands)
    bench_cli.add_bench(commands)
    bench_cli.add_profile(commands)
    study_cli.add_sweep(commands)
    study_cli.add_merge(commands)
    study_cli.add_paired(commands)
    options = parser.parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "compare", *arguments])
    try:
        return options.command(options)
    except (InvalidRequest, ModelNotLoaded, RunFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return cli.STOPPED


if __name__ == "__main__":
    sys.exit(main())
