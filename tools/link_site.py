"""Let an environment of asv's see the packages of the interpreter that ``tools/asv`` was called in.

asv calls it in each new environment. The environment's own packages, the measured hgobench among
them, come first; ``.pth`` files of the host are not read, so that an editable hgobench there does
not leak. Both commits are then measured with one torch, which is not installed twice.
"""

import os
import sys
import sysconfig
from pathlib import Path

host = os.environ.get("HGOBENCH_SITE", "")
if not Path(host).is_dir():
    sys.exit("HGOBENCH_SITE: not set to the folder of the host's packages; call asv by tools/asv")
Path(sysconfig.get_paths()["purelib"], "zz_host.pth").write_text(host + "\n")
