"""The corpus of the import: configurations as they are found in the field, each in its folder."""

from __future__ import annotations

from pathlib import Path

from tests.harness.build import PRESETS
from unitq.presets.detect import framework_of
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.programs import Read, read
from unitq.supervisor.conf.section import Surroundings
from unitq.supervisor.importer import procfile
from unitq.supervisor.importer.recognise import Looks, Wishes
from unitq.supervisor.importer.translate import Imported, translate

FOLDER = Path(__file__).resolve().parents[1] / "unit/supervisor/importer"
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
    ini, _ = conf_files.load(path, conf_files.read(path), around(case))
    return read(ini, around(case), str(path))


def recognise(command: str, directory: str) -> Looks:
    """The preset; no script is there that could be looked at."""
    found = framework_of(PRESETS, command, {})
    return Looks(found[0] if found else None, common=PRESETS["none"])


def imported(case: str, *, user_scope: bool = False) -> Imported:
    """What it becomes."""
    path = file(case)
    wishes = Wishes(str(path), user_scope=user_scope)
    if path.name == "Procfile":
        env = path.parent / ".env"
        return procfile.read(
            conf_files.read(path),
            wishes,
            recognise,
            directory=str(path.parent),
            env_file=str(env) if env.exists() else None,
            formation={"web": 3} if case == "procfile-rails" else {},
        )
    ini, notes = conf_files.load(path, conf_files.read(path), around(case))
    found = translate(ini, read(ini, around(case), str(path)), wishes, recognise)
    found.report.notes[:0] = notes
    return found


def neutral(text: str, case: str) -> str:
    """The same wherever this checkout is."""
    return text.replace(str(CORPUS / case), "/etc/supervisor")
