"""The options that several commands share; what they mean is `kbench.study.request`."""

from pathlib import Path
from typing import Annotated

import typer

from kbench.cli import completion
from kbench.errors import KbenchError
from kbench.study.request import HELP

ModelOption = Annotated[
    list[str], typer.Option("--model", help=HELP["model"], autocompletion=completion.models)
]
TaskOption = Annotated[
    list[str], typer.Option("--task", help=HELP["task"], autocompletion=completion.tasks)
]
SupervisionOption = Annotated[
    list[str] | None,
    typer.Option("--supervision", help=HELP["supervision"], autocompletion=completion.supervisions),
]
ProtocolOption = Annotated[
    str, typer.Option("--protocol", help=HELP["protocol"], autocompletion=completion.protocols)
]
OnlyModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", help="Only this model.", autocompletion=completion.models),
]
OnlyTaskOption = Annotated[
    list[str] | None,
    typer.Option("--task", help="Only this task.", autocompletion=completion.tasks),
]
OnlySupervisionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--supervision", help="Only this supervision.", autocompletion=completion.supervisions
    ),
]
OnlyProtocolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--protocol",
        help="Only this protocol, as in quick-1.",
        autocompletion=completion.protocols,
    ),
]
"""To choose of what is there."""
LengthsOption = Annotated[
    str | None,
    typer.Option("--lengths", help=HELP["lengths"]),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help=HELP["set"], metavar="NAME=VALUE"),
]
DistributionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--distribution", help=HELP["distribution"], autocompletion=completion.distributions
    ),
]
HoldOutOption = Annotated[
    float | None, typer.Option("--hold-out-pairs", help=HELP["hold-out-pairs"])
]
ExtrapolateOption = Annotated[
    str | None,
    typer.Option("--extrapolate", help=HELP["extrapolate"]),
]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help=HELP["seeds"])]
MatchOption = Annotated[
    str | None,
    typer.Option("--match", help=HELP["match"], autocompletion=completion.matches),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option("--reference", help=HELP["reference"], autocompletion=completion.models),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help=HELP["device"], autocompletion=completion.devices)
]
BackendOption = Annotated[
    str,
    typer.Option("--backend", help=HELP["backend"], autocompletion=completion.backends),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Where to write the plot: .svg or .png.")
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the trial store.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress and no hints: only results and errors."),
]
ProfileOption = Annotated[
    bool, typer.Option("--profile", help="Say in the end where the time went.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", help="Processes. Default: one for each core; on a GPU one."),
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Where trials run: local, or ray for a cluster.",
        autocompletion=completion.executors,
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="The cluster: auto, host:port or ray://host:port. Default: one started here.",
    ),
]
BoardOption = Annotated[
    bool,
    typer.Option("--board", help="Show where each model would stand on the leaderboard."),
]
LeaderboardsOption = Annotated[
    Path, typer.Option("--leaderboards", help="Folder of the leaderboards' entries, for --board.")
]
LogOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        help="Also write results and learning curves, to tensorboard[:FOLDER] or wandb[:PROJECT].",
        metavar="WHERE",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard", help="One share of the cells, as in 3/10: the same whole cells every time."
    ),
]
ShardsOption = Annotated[
    int | None,
    typer.Option("--shards", min=1, help="Say how the cells divide into this many shares."),
]


def plot_path(path: Path) -> Path:
    """Where a plot can be written to, before anything is measured; raises KbenchError."""
    if path.suffix not in (".svg", ".png"):
        raise KbenchError(f"a plot is a file .svg or .png, got {str(path)!r}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise KbenchError(f"a plot cannot be written to {str(path)!r}: no such folder")
    return path
