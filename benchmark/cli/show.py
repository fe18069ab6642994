"""`kbench show`: stored results again."""

from pathlib import Path

from kbench.cli.console import claim_stdout, out, print_json
from kbench.cli.options import (
    JsonOption,
    OnlyModelOption,
    OnlyProtocolOption,
    OnlySupervisionOption,
    OnlyTaskOption,
    PlotOption,
    StoreOption,
    plot_path,
)
from kbench.errors import KbenchError, unknown
from kbench.study.request import STORE


def show(
    model: OnlyModelOption = None,
    task: OnlyTaskOption = None,
    supervision: OnlySupervisionOption = None,
    protocol: OnlyProtocolOption = None,
    store: StoreOption = Path(STORE),
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the stored results again, all or some, without running anything.

    --plot draws what the file's name begins with: `kappa`, `kappa-by-length` (κ of the lengths up
    to L, by L), `curves` (validation loss by step) or `success` (share of seeds that pass, by N);
    with any other name κ against the accuracy at twice the training length.
    """
    from kbench.report.document import document_of, plain
    from kbench.report.tables import tables
    from kbench.study.driver import Progress, asked_for, recall
    from kbench.study.searches import CellRun
    from kbench.study.store import Store

    picture = plot_path(plot) if plot else None
    stdout = claim_stdout() if as_json else None
    with Store(store, create=False) as trials:
        cells = asked_for(trials)
        if not cells:
            raise KbenchError(f"the trial store at {store} has no results yet")
        for kind, wanted, of in (
            ("model", model, lambda c: c.model),
            ("task", task, lambda c: c.task),
            ("supervision", supervision, lambda c: c.supervision),
            ("protocol", protocol, lambda c: c.protocol.id),
        ):
            for name in wanted or ():
                if name not in (stored := {of(cell) for cell in cells}):
                    raise unknown(f"{kind} in the store", name, stored)
            cells = [cell for cell in cells if not wanted or of(cell) in wanted]
        progress = [Progress(run=CellRun(cell)) for cell in cells]
        for p in progress:
            p.trials_reused = recall(p.run, trials)
        document = document_of(progress, trials)
    if picture:
        from kbench.report.figures.curves import named
        from kbench.report.figures.plots import save

        save(named(picture)([p.run for p in progress], document.results), picture)
    if stdout:
        print_json(plain(document), stdout)
    else:
        out.print(tables([p.run for p in progress]))
