"""The corpus of the import: configurations as they are found in the field, each in its folder."""

from __future__ import annotations

from pathlib import Path

from tests.core.build import PRESETS
from unitq.core.recognise import recognised
from unitq.core.supervisor import procfile
from unitq.core.supervisor.looks import Looks
from unitq.core.supervisor.programs import Read, read
from unitq.core.supervisor.section import Surroundings
from unitq.core.supervisor.translate import Imported, Wishes, translate
from unitq.host import supervisor

FOLDER = Path(__file__).parent / "import"
CORPUS = FOLDER / "corpus"
GOLDEN = FOLDER / "golden"

CASES = sorted(path.name for path in CORPUS.iterdir())
OF_SUPERVISOR = [case for case in CASES if (CORPUS / case / "supervisord.conf").exists()]

HOST = "worker-1"
ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "APP_ENV": "production",
    "PRIORITY": "5",
}


def file(case: str) -> Path:
    """Its main file."""
    path = CORPUS / case / "supervisord.conf"
    return path if path.exists() else CORPUS / case / "Procfile"


def around(case: str) -> Surroundings:
    """The surroundings, the same on every machine but for the folder."""
    return Surroundings(str(CORPUS / case), HOST, ENVIRONMENT)


def programs(case: str) -> Read:
    """What our reader makes of it."""
    path = file(case)
    ini, _ = supervisor.load(path, supervisor.read(path), around(case))
    return read(ini, around(case), str(path))


def recognise(command: str, directory: str) -> Looks:
    """The preset; no script is there that could be looked at."""
    found = recognised(PRESETS, command, {})
    return Looks(found[0] if found else None, common=PRESETS["none"])


def imported(case: str, *, user_scope: bool = False) -> Imported:
    """What it becomes."""
    path = file(case)
    wishes = Wishes(str(path), user_scope=user_scope)
    if path.name == "Procfile":
        env = path.parent / ".env"
        return procfile.read(
            supervisor.read(path),
            wishes,
            recognise,
            directory=str(path.parent),
            env_file=str(env) if env.exists() else None,
            formation={"web": 3} if case == "procfile-rails" else {},
        )
    ini, notes = supervisor.load(path, supervisor.read(path), around(case))
    found = translate(ini, read(ini, around(case), str(path)), wishes, recognise)
    found.report.notes[:0] = notes
    return found


def neutral(text: str, case: str) -> str:
    """The same wherever this checkout is."""
    return text.replace(str(CORPUS / case), "/etc/supervisor")
