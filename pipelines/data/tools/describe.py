"""`skel describe` -> a drafted definition as a file or on the screen, a picture, and what to look at. No Ray.

The guesses are `skeleton_io.describe.draft`'s.
"""

from __future__ import annotations

from pipelines.figures.joint_picture import joint_picture
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import say as _print
from skeleton_io import storage
from skeleton_io.describe.draft import Draft, describe
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources import detection
from skeleton_io.sources.registry import candidates


def run(path: str, out: str, picture: str) -> Draft | None:
    """Drafts, writes and says what was found.

    Args:
        path: folder or URI of the files, or one of them.
        out: YAML to write; empty: it is printed.
        picture: PNG to write, or empty.

    Returns:
        The draft; None where a reader knows the files and there is nothing to draft.

    Raises:
        UserError: nothing at the path, or nothing like a skeleton in its files.
    """
    # On the screen the notes are comments, so that what is printed is a definition as it stands.
    say = _print if out else lambda text: _print(f"# {text}")
    if not storage.exists(path):
        raise UserError(f"nothing at {path}")
    root, paths = path, list[str]()
    if storage.is_local(path) and storage.local_path(path).is_file():
        root, _, name = path.rpartition("/")
        paths = [name]
    best, _ = detection.choose([] if paths else candidates(root))
    if best is not None:
        say(f"[describe] these are known files, no YAML is needed: skel ingest --input {_set_name(best)}={root}")
    try:
        draft = describe(root, paths)
    except SkeletonFormatError as error:
        if best is not None and not out and not picture:
            return None
        raise UserError(f"no definition could be drafted: {error}") from None
    for line in _report(draft):
        say(line)
    if out:
        storage.write_atomic(out, draft.text)
        say(f"[describe] wrote {out}; then: skel ingest --input {out}={root} --out SHARDS")
    else:
        print(draft.text, end="")
    if picture:
        if not draft.clips:
            raise UserError(f"no picture: {draft.errors[0] if draft.errors else 'no clip was read'}")
        storage.write_atomic(picture, joint_picture(draft.clips[0]))
        say(f"[describe] wrote {picture}")
    return draft


def _set_name(best: detection.Candidate) -> str:
    return best.source.name if best.source.licence is not None else f"NAME:{best.source.name}"


def _report(draft: Draft) -> list[str]:
    clip = draft.clips[0] if draft.clips else None
    count = f"{draft.files} files; {draft.files_read} looked at: {len(draft.clips)} clips, {len(draft.errors)} errors"
    lines = [f"[describe] {count}"]
    if clip is not None:
        frames, persons, joints, numbers = clip.positions.shape
        shape = f"{frames} frames, {persons} persons, {joints} joints, {numbers} coordinates"
        lines.append(f"[describe] the first: {clip.id}: {shape}, {clip.fps:.4g} per second")
    lines += [f"[describe] not read: {error}" for error in draft.errors[:2]]
    return lines + ([f"[describe] check: {', '.join(draft.checks)}"] if draft.checks else [])
