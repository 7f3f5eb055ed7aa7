"""Which file systems lie on another machine: their locks and syncs are not what SQLite, or a kept
journal, can rely on."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "coda", "gfs2"),
        *("gluster", "glusterfs", "lustre", "ncpfs", "ocfs2", "orangefs", "pvfs2", "davfs"),
        *("beegfs", "virtiofs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs"),
        *("fuse.rclone", "fuse.gcsfuse", "fuse.juicefs", "fuse.smbnetfs", "fuse.davfs"),
    }
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def over_network(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the network file system that ``path`` lies on; ``None`` for a local one, or
    where the system does not list its mounts."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    there, best = path.resolve(), ("", "")
    for line in lines:
        fields, _, rest = line.partition(" - ")
        parts = fields.split()
        if len(parts) < 5 or not rest.split():
            continue
        point = _ESCAPE.sub(lambda m: chr(int(m.group(1), 8)), parts[4])
        # The last of two mounts on one point is the one that is seen.
        if there.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, rest.split()[0])
    return best[1] if best[1] in _NETWORK else None
