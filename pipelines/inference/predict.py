"""`skel predict`: inputs -> rows, as a table on the terminal, one file, or a folder of parts that a cluster fills.

A folder's parts are cut before anything runs, a fixed number of units each, and every part is written whole or not at
all by whoever predicted it. So 1 and 20 workers write the same bytes, and a run that was stopped goes on with the parts
that are missing. Computes nothing itself: `predictor` does.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.inference import row_files, tables
from pipelines.inference.inputs import Unit, left_out, list_units
from pipelines.inference.predictor import PredictionRequest, Predictor, Row
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.paths import absolute
from pipelines.runtime.progress import Progress, say
from skeleton_io import storage

SETTINGS = "settings.json"
SUMMARY = "predictions.json"
"""Written last: its presence says that all parts are there."""
_OTHER_FILES = ("csv", "tsv", "txt", "json", "ndjson", "xlsx", "arrow", "html")
"""Suffixes of an --out that nobody means as a folder."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How and where.

    Attributes:
        checkpoint: run, stage or export.
        asked: what is asked about each clip.
        format: of the files; empty: found by itself.
        out: empty: only the table; "-": JSON lines on stdout; FILE.jsonl, FILE.parquet; else a folder of parts.
        kind: of the parts, "jsonl" or "parquet".
        workers: actors on Ray; 0: this process.
        gpus: of each actor.
        part: units of each part.
        stop_after: parts to write at most; 0: all. For tests of resuming.
    """

    checkpoint: str
    asked: PredictionRequest
    format: str = ""
    out: str = ""
    kind: str = "jsonl"
    workers: int = 0
    gpus: float = 0.0
    part: int = 8
    stop_after: int = 0


class PartWriter:
    """Predicts and writes whole parts; one actor, or this process.

    Args:
        export_uri: the model.
        request: the fields of `PredictionRequest`.
        out: folder of the parts.
        kind: "jsonl" or "parquet".
    """

    def __init__(self, export_uri: str, request: dict[str, Any], out: str, kind: str) -> None:
        self.predictor = Predictor(export_uri, **request)
        self.out, self.kind = out, kind

    def write(self, job: dict[str, Any]) -> dict[str, Any]:
        """{"name", "units"} -> counts, once the part is written.

        Raises:
            OSError: a storage failed.
        """
        rows = list(self.predictor.rows(Unit.from_json(unit) for unit in job["units"]))
        storage.write_atomic(storage.join(self.out, job["name"]), row_files.encode(rows, self.kind))
        return counts(job["name"], rows)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Rows of JSON text in and out: what Ray Data hands over."""
        reports = []
        for text in batch["job"]:
            try:
                reports.append(json.dumps(self.write(json.loads(str(text)))))
            except OSError as error:  # a value, since Ray would wrap it in pages of its own
                reports.append(json.dumps({"failed": f"{type(error).__name__}: {error}"}))
        return {"report": reports}


def counts(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What a part holds."""
    bad = [row for row in rows if row["error"] is not None]
    return {"part": name, "rows": len(rows), "errors": len(bad), "messages": [_line(row) for row in bad[:20]]}


def _line(row: Row) -> str:
    """One line that says what is wrong and where."""
    where = (
        row["input"]
        if row["error"].startswith(str(row["file"])) or not row["file"]
        else f"{row['input']}, {row['file']}"
    )
    return f"{where}: {row['error']}"


def run(inputs: Sequence[str], options: Options) -> dict[str, Any]:
    """Predicts everything that the inputs lead to.

    Returns:
        {"rows", "errors"}: rows = clips predicted + errors.

    Raises:
        UserError: options that contradict each other, no model, or nothing could be predicted.
        StageFailed: a storage failed; finished parts are kept.
    """
    from pipelines.exports.find import find_export

    check_options(options)
    units = list_units(inputs, options.format)
    export_uri = find_export(absolute(options.checkpoint))
    for uri in dict.fromkeys(unit.input for unit in units):
        if note := left_out(uri, units):
            tables.complain(f"{uri}: left out {note}")
    in_folder = options.out not in ("", "-") and not row_files.kind_of(options.out)
    totals = _to_folder(units, export_uri, options) if in_folder else _to_one_place(units, export_uri, options)
    if totals["rows"] == totals["errors"] and not options.stop_after:
        raise UserError("nothing could be predicted; the lines above say why")
    return totals


def check_options(options: Options) -> None:
    """Refuses options that contradict each other before anything is loaded.

    Raises:
        UserError: says which.
    """
    one_file = options.out in ("", "-") or row_files.kind_of(options.out)
    if options.workers and one_file:
        raise UserError("--workers writes parts: give --out FOLDER")
    try:
        options.asked.check()
    except UserError as error:
        raise UserError(f"--{error}") from None
    suffix = storage.name(options.out).rpartition(".")[2].lower() if "." in storage.name(options.out) else ""
    if suffix in _OTHER_FILES:
        raise UserError(f"--out {options.out}: expected FILE.jsonl, FILE.parquet, - or a folder, found .{suffix}")
    for name, value, least in (("--part", options.part, 1), ("--workers", options.workers, 0)):
        if value < least:
            raise UserError(f"{name} must be at least {least}, found {value}")


def _to_one_place(units: Sequence[Unit], export_uri: str, options: Options) -> dict[str, Any]:
    """Terminal or one file; rows are shown or kept as they come."""
    predictor = Predictor(export_uri, **dataclasses.asdict(options.asked))
    rows = predictor.rows(_counted(units))
    if options.out == "-":
        return _tally(rows, lambda row: print(row_files.line(row), flush=True))
    table = tables.Shown(bool(options.asked.question))
    if not options.out:
        totals = _tally(rows, table.add)
    else:
        with storage.atomic_file(absolute(options.out)) as file:
            write = row_files.Writer(file, row_files.kind_of(options.out))
            totals = _tally(rows, lambda row: (table.add(row), write.add(row)))
            write.close()
    table.print(totals, options.out)
    return totals


def _counted(units: Sequence[Unit]) -> Iterator[Unit]:
    """The units as they are; how far they are is said every few seconds, on stderr, where no row goes."""
    progress = Progress("predict", len(units), "inputs", tell=tables.complain)
    for done, unit in enumerate(units):
        if done:
            progress.add(1)
        yield unit


def _tally(rows: Iterable[Row], take: Callable[[Row], object]) -> dict[str, Any]:
    """Hands every row on, says each error on stderr, and counts."""
    total = errors = 0
    for row in rows:
        take(row)
        total += 1
        if row["error"] is not None:
            errors += 1
            tables.complain(f"error: {_line(row)}")
    return {"rows": total, "errors": errors}


def jobs_of(units: Sequence[Unit], options: Options, key: str) -> list[dict[str, Any]]:
    """The parts to write, named after their place and what decides them."""
    jobs = []
    for place, start in enumerate(range(0, len(units), options.part)):
        plain = [unit.to_json() for unit in units[start : start + options.part]]
        jobs.append({"name": f"part-{place:06d}-{digest(key, plain)}.{options.kind}", "units": plain})
    return jobs


def _to_folder(units: Sequence[Unit], export_uri: str, options: Options) -> dict[str, Any]:
    """Parts in a folder; those that are there already are kept.

    Raises:
        UserError: the folder holds predictions of another model, question or input.
        StageFailed: a storage failed, or parts are missing at the end.
    """
    from pipelines.exports.find import identity

    out = absolute(options.out)
    settings = {
        "checkpoint": export_uri,
        "model": identity(export_uri),
        "asked": dataclasses.asdict(options.asked),
        "inputs": list(dict.fromkeys(unit.input for unit in units)),
        "units": len(units),
        "part": options.part,
        "kind": options.kind,
    }
    key = digest("predict", {k: v for k, v in settings.items() if k != "checkpoint"}, [u.to_json() for u in units])
    _claim(out, settings | {"key": key})
    jobs = jobs_of(units, options, key)
    there = set(storage.list_files(out))
    todo = [job for job in jobs if job["name"] not in there]
    progress = Progress("predict", len(jobs), "parts")
    progress.skip(len(jobs) - len(todo))
    if options.stop_after:
        todo = todo[: options.stop_after]
    for part in _work(todo, export_uri, out, options):
        for message in part["messages"]:
            tables.complain(f"error: {message}")
        progress.add(1)
    missing = {job["name"] for job in jobs} - set(storage.list_files(out))
    if missing and not options.stop_after:
        raise StageFailed(f"{len(missing)} parts are missing in {out}; start again")
    if missing:
        return {"rows": 0, "errors": 0}
    return _summarise(out, [job["name"] for job in jobs], settings | {"key": key})


def _claim(out: str, settings: dict[str, Any]) -> None:
    """Marks the folder as this prediction's.

    Raises:
        UserError: it is another one's.
    """
    uri = storage.join(out, SETTINGS)
    if storage.exists(uri):
        if json.loads(storage.read_text(uri))["key"] != settings["key"]:
            raise UserError(f"--out {out} holds predictions of another model, question or input; name another folder")
        return
    storage.write_atomic(uri, json.dumps(settings, indent=1, ensure_ascii=False))


def _work(todo: Sequence[dict[str, Any]], export_uri: str, out: str, options: Options) -> Iterator[dict[str, Any]]:
    """Counts of each part as it is written, here or by actors.

    Raises:
        StageFailed: a storage failed.
    """
    if not todo:
        return
    arguments = (export_uri, dataclasses.asdict(options.asked), out, options.kind)
    if not options.workers:
        writer = PartWriter(*arguments)
        for job in todo:
            yield writer.write(job)
        return
    from pipelines.cluster.connect import connected, require

    with connected():
        workers = min(options.workers, len(todo))
        require(workers, workers * options.gpus, f"{workers} workers")
        yield from _spread(todo, arguments, workers, options.gpus)


def _spread(
    todo: Sequence[dict[str, Any]], arguments: tuple[Any, ...], workers: int, gpus: float
) -> Iterator[dict[str, Any]]:
    """As `_work`, on actors of Ray Data; an actor that dies is started again with the part it was at."""
    import ray

    from pipelines.cluster.spread import quiet

    quiet()
    rows = ray.data.from_items([{"job": json.dumps(job)} for job in todo], override_num_blocks=len(todo))
    reports = rows.map_batches(
        PartWriter,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    for row in reports.iter_rows():
        report = json.loads(row["report"])
        if "failed" in report:
            raise StageFailed(f"the storage failed: {report['failed']}; finished parts are kept, start again")
        yield report


def _summarise(out: str, names: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Counts over all parts -> predictions.json."""
    total = errors = 0
    labels: Counter[str] = Counter()
    for name in names:
        for label, failed in row_files.labels_of(storage.join(out, name)):
            total += 1
            errors += failed
            if label is not None:
                labels[label] += 1
    totals = {"rows": total, "errors": errors}
    summary = {**totals, "labels": dict(sorted(labels.items())), "parts": list(names), "settings": settings}
    storage.write_atomic(storage.join(out, SUMMARY), json.dumps(summary, indent=1, ensure_ascii=False))
    say(f"[predict] {total} rows in {len(names)} parts: {total - errors} clips, {errors} errors; {out}")
    return totals
