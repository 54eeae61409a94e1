"""`skel predict` and `skel render`: clips of any format through a model, or through the renderer alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from models.config import RendererKind
from pipelines.commands.base import Command, Inputs, Model
from pipelines.runtime.arguments import NoCommas, name_value
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute

Rasterizer = Annotated[Literal["tiled", "reference"] | None, tyro.conf.DisallowNone, name_value("{tiled,reference}")]


@dataclass(frozen=True, kw_only=True)
class Predict(Command):
    """Names the action in clips of any format, or answers a question about them, with a trained model.

    examples:
      skel predict walk.bvh --model runs/demo                      a table of the likeliest labels
      skel predict clips/ a.skeleton --model runs/demo --labels walk "wave hello" throw --top 3
      skel predict clip.json --model runs/demo --question "Which arm moves?" --out - | jq .answer
      skel predict fall.c3d --model runs/demo --question "Does the person fall?" --labels yes no
      skel predict s3://bucket/shards --model s3://bucket/run --workers 8 --gpus 1 --out s3://bucket/predictions

    INPUT is a native file of any format, a folder, or a shard set; name it before the flags. Each clip gives a row, and
    so does everything that cannot be read: rows = clips + errors. A probability is the softmax, over the candidates, of
    the mean log-likelihood per token: it ranks the candidates and is no calibrated chance of being right.
    docs/predict.md has more.
    """

    inputs: Inputs
    """Native file, folder of such files, or shard set."""
    model: Model
    """A run, one of its training stages, or an export; folder or URI. Also --checkpoint."""
    format: Annotated[str, name_value("NAME")] = ""
    """Format of the files, or a definition.yaml; default: found by itself."""
    labels: Annotated[
        tuple[str, ...], NoCommas('walk "wave hello" fall, or @FILE with one a line'), name_value("LABEL ...")
    ] = ()
    """Candidates; @FILE: one a line. Default: the labels of the trained set that the clip belongs to, else of all
    trained sets."""
    label_set: Annotated[str, name_value("SET")] = ""
    """Candidates: the labels of this trained set."""
    question: Annotated[str | None, tyro.conf.DisallowNone, name_value("TEXT")] = None
    """Also ask this and write the answer; with --labels, those are the answers to choose from."""
    top: Annotated[int, name_value("K")] = 5
    """Candidates in a row."""
    max_new_tokens: Annotated[int, name_value("N")] = 48
    """Of an answer."""
    frames: Annotated[str, name_value("FOLDER")] = ""
    """Write what the model saw, a PNG per clip."""
    out: Annotated[str, name_value("OUT")] = ""
    """FILE.jsonl, FILE.parquet, - (JSON lines on stdout), or a folder of parts, which a second start completes."""
    parts: Literal["jsonl", "parquet"] = "jsonl"
    """Form of a folder's parts."""
    part: Annotated[int, name_value("N")] = 8
    """Files, or stretches of 32 clips of a shard set, in a part."""
    batch: Annotated[int, name_value("N")] = 0
    """Clips at a time; 0: as trained."""
    workers: Annotated[int, name_value("N")] = 0
    """Processes on Ray; 0: this one alone."""
    gpus: Annotated[float, name_value("G")] = 0.0
    """GPUs of each worker."""

    def execute(self, fields: Sequence[str]) -> None:
        """Predicts all inputs."""
        labels = _candidates(self.labels)
        if self.question is not None and not self.question.strip():
            raise UserError("--question: expected a question, found an empty text")
        from pipelines.inference import predict
        from pipelines.inference.predictor import PredictionRequest

        request = PredictionRequest(
            labels=labels,
            label_set=self.label_set,
            question=(self.question or "").strip(),
            top=self.top,
            max_new_tokens=self.max_new_tokens,
            batch=self.batch,
            pictures=absolute(self.frames) if self.frames else "",
        )
        predict.run(
            self.inputs,
            predict.Options(
                checkpoint=self.model,
                format=self.format,
                asked=request,
                out=self.out,
                kind=self.parts,
                workers=self.workers,
                gpus=self.gpus,
                part=self.part,
            ),
        )


def _candidates(items: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that are named, or the lines of @FILE.

    Raises:
        UserError: no such file, or no label in what is named.
    """
    if len(items) != 1 or not items[0].startswith("@"):
        labels = tuple(item.strip() for item in items)
        if labels == ("",):
            raise UserError("--labels '': expected labels, or @FILE with one a line, found none")
        return labels
    from skeleton_io import storage

    try:
        lines = storage.read_text(items[0][1:]).splitlines()
    except FileNotFoundError:
        raise UserError(f"--labels {items[0]}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"--labels {items[0]}: {error}") from None
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise UserError(f"--labels {items[0]}: expected a file with one label a line, found none in it")
    return labels


@dataclass(frozen=True, kw_only=True)
class Render(Command):
    """Draws clips of any format as the model sees them: npz, gif or png; starts no Ray.

    examples:
      skel render clip.skeleton                                  an untrained renderer, clip.gif
      skel render walk.bvh --renderer stick --out walk           a stick figure, a folder of png files
      skel render runs/demo/shards --clip demo_ntu/S001C001P001R001A903 --weights runs/demo/train/4-refine/export
      skel render clip.skeleton --format ntu --weights released.safetensors --frame-indices 0 9 18 --image-size 448
        --camera identity --out clip.npz                         the authors' weights and camera

    A .npz holds frames, uint8 (F, H, W, 3), with frame_indices, seconds, clip and provenance. docs/render.md has more.
    """

    inputs: Inputs
    """Native file, folder of such files, or shard set."""
    format: Annotated[str, name_value("NAME")] = ""
    """Format of the files, or a definition.yaml; default: found by itself."""
    clip: Annotated[tuple[str, ...], name_value("ID ...")] = ()
    """Only these clips; SET/ID in shards."""
    weights: Annotated[str, name_value("FILE")] = ""
    """Export folder, renderer.safetensors, or the authors' released file; default: untrained."""
    renderer: RendererKind = "draction"
    """The learned one, or a fixed baseline: stick figure, joint heatmaps, depth and velocity colours."""
    frame_indices: Annotated[tuple[int, ...], NoCommas("0 9 18"), name_value("N ...")] = ()
    """Frames of the clip."""
    frames: Annotated[int | None, tyro.conf.DisallowNone, name_value("F")] = None
    """Else this many, evenly spaced; default: as trained, or 12."""
    image_size: Annotated[int | None, tyro.conf.DisallowNone, name_value("PIXELS")] = None
    """Default: as trained, or 448."""
    camera: Annotated[Literal["identity", "fit"] | None, tyro.conf.DisallowNone, name_value("{identity,fit}")] = None
    """The authors' mirrored one, or one that frames the clip; default: as trained."""
    views: Annotated[tuple[float, ...], NoCommas("0 90"), name_value("DEGREES ...")] = ()
    """Turns of the framing camera; the views share the F images; default: as trained, or 0."""
    rasterizer: Rasterizer = None
    """Fast, or exact over all pixels."""
    out: Annotated[str, name_value("OUT")] = "{clip}.gif"
    """FILE.npz, FILE.gif or a folder of png files; {clip} is replaced by the clip's id."""

    def execute(self, fields: Sequence[str]) -> None:
        """Draws all inputs."""
        from pipelines.inference import render

        options = render.RenderOptions(
            format=self.format,
            clips=self.clip,
            weights=self.weights,
            renderer=self.renderer,
            frame_indices=self.frame_indices,
            frames=self.frames,
            image_size=self.image_size,
            camera=self.camera,
            views=self.views or None,
            rasterizer=self.rasterizer,
            out=self.out,
        )
        render.run(self.inputs, options)
