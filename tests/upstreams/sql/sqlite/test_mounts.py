from __future__ import annotations

from pathlib import Path

import pytest

from gateway.upstreams.sql.sqlite.mounts import over_network

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /srv/nfs rw shared:9 - nfs4 host:/x rw,vers=4.2
41 40 8:2 / /srv/nfs/local rw - xfs /dev/sdb rw
42 22 0:36 / /srv/with\\040blank rw master:3 - fuse.sshfs me@host: rw
43 22 0:37 / /srv/twice rw - ext4 /dev/sdc rw
44 22 0:38 / /srv/twice rw - cifs //host/share rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/a.db", None),
        ("/srv/nfs/a.db", "nfs4"),
        ("/srv/nfs/local/a.db", None),
        ("/srv/nfsother/a.db", None),
        ("/srv/with blank/a.db", "fuse.sshfs"),
        ("/srv/twice/a.db", "cifs"),
    ],
)
def test_the_innermost_mount_says_where_a_file_lies(
    tmp_path: Path, path: str, kind: str | None
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert over_network(Path(path), mounts) == kind


def test_without_a_list_of_mounts_nothing_is_held_against_a_file(tmp_path: Path) -> None:
    assert over_network(tmp_path, tmp_path / "none") is None
    assert over_network(tmp_path) is None
