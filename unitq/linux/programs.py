"""What unitq starts: which file a program's name means, and with what environment.

Root's programs come from the system's directories. The PATH of the caller names others only to an
ordinary user: who keeps it through sudo(8), or stands in a directory that is on it, must not decide
what root runs.
"""

from __future__ import annotations

import errno
import os
import re
import site
import sys
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError
from unitq.linux.trust import deciding

if TYPE_CHECKING:
    import tempfile

# The system's own first: on some machines a group may write to /usr/local.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"

# What a program that root starts may get of the caller's environment.
_KEPT = frozenset(
    {"LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "SUDO_USER"}
)
# Patterns are compiled when one is needed: that takes 1 ms, and `status` starts no program.
_LOCALE = "LC_[A-Z]+"
# As sudo's env_check: no path to a file of the caller's choice, and no format.
_HARMLESS = r"(?a:[\w.,@:+-]*|\w[\w+-]*(/[\w+-]+)+)"

# Directories of an account, whose place the environment may change.
_PLACES = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")

# What makes an interpreter, a shell or the loader run more than what it is told to: the list of
# sudo (env_delete, sudoers(5)), and what is like it.
_CODE = (
    "IFS|CDPATH|ENV|BASH_.*|BASHOPTS|SHELLOPTS|GLOBIGNORE|PS4|FPATH|NULLCMD|READNULLCMD|ZDOTDIR|"
    "LD_.*|GCONV_PATH|LOCPATH|NLSPATH|GETCONF_DIR|RES_OPTIONS|LOCALDOMAIN|HOSTALIASES|TERMINFO.*|"
    "TERMPATH|TERMCAP|TMPDIR|TMPPREFIX|PERL.*|PYTHON.*|RUBY(LIB|OPT)|GEM_(HOME|PATH)|BUNDLE_.*|"
    "NODE_(OPTIONS|PATH)|PHPRC|PHP_INI_SCAN_DIR|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|OPENSSL_.*|"
    "GIT_(ASKPASS|CONFIG|DIR|EDITOR|EXEC|EXTERNAL|PAGER|PROXY|SEQUENCE|SSH|TEMPLATE|WORK).*|"
    "SYSTEMD_.*|DBUS_.*|(MAN)?PAGER|EDITOR|VISUAL|BROWSER|LESS.*|CREDENTIALS_DIRECTORY|"
    "(SSH|SUDO)_ASKPASS|PROMPT_COMMAND|(?i:npm_config_.*)|COMPOSER_.*|LUA_.*|R_(PROFILE|ENVIRON).*|"
    "JDK_JAVA_OPTIONS|CLASSPATH|DOTNET_STARTUP_HOOKS|ANSIBLE_.*|CURL_HOME|WGETRC|GTK_MODULES|"
    "XDG_(CONFIG|DATA)_(DIRS|HOME)"
)


def own_command() -> tuple[str, ...]:
    """The beginning of a command line that runs this unitq.

    Python is isolated: neither the directory nor the PYTHON* variables of who starts it add code
    (python(1), -I). The account's own packages count only where unitq is one of them.
    """
    own = not sys.flags.no_user_site and _below(__file__, site.getusersitepackages())
    return (sys.executable, *(("-E", "-P") if own else ("-I",)), "-m", "unitq")


def _below(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(f"{os.path.realpath(folder)}/")


def path_of(name: str) -> str:
    """The file of a program. Raises FileNotFoundError.

    As root it is one that nobody else can put another in place of.
    """
    why = f"there is no program {name}"
    if os.geteuid() != 0:
        import shutil

        if path := shutil.which(name):
            return path
        raise FileNotFoundError(errno.ENOENT, why, name)
    for folder in PATH.split(":"):
        path = f"{folder}/{name}"
        if not os.access(path, os.X_OK):
            continue
        if (part := foreign_part(path)) is None:
            return path
        why = f"{path} is not run as root: {part} is not root's alone"
    raise FileNotFoundError(errno.ENOENT, why, name)


def environment(*, whole: bool = False) -> dict[str, str]:
    """The environment of a program that unitq starts.

    An ordinary user's is their own. Root's is `environment_of_root`; with `whole`, all but what
    would make a program run other code.
    """
    if os.geteuid() != 0:
        return dict(os.environ) | _runtime()
    variables = environment_of_root()
    if whole:
        variables = {
            name: value
            for name, value in os.environ.items()
            if not re.fullmatch(_CODE, name) and name not in _PLACES and not value.startswith("()")
        } | variables
    for name in _PLACES:
        value = os.environ.get(name)
        if value and foreign_part(value) is None:
            variables[name] = value
    return variables


def environment_of_root() -> dict[str, str]:
    """The system's PATH, root's HOME, and of the caller's only the locale and the terminal."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if (name in _KEPT or re.fullmatch(_LOCALE, name)) and re.fullmatch(_HARMLESS, value)
    }
    return variables | {"HOME": _home(0), "PATH": PATH}


def own_places() -> dict[str, str]:
    """Where the environment says that an account's own files are: HOME and the XDG directories.

    Raises NotPermittedError where root was told of a directory that another account decides about:
    what root writes there would follow that account's links.
    """
    variables = {name: value for name in _PLACES if (value := os.environ.get(name))}
    if os.geteuid() != 0:
        return {"HOME": os.path.expanduser("~")} | variables | _runtime()
    for name, value in variables.items():
        if part := foreign_part(value):
            raise NotPermittedError(
                f"{name}={value}: {part} is not root's alone",
                hint="with --user as root: `sudo -H` without kept variables; for the units of "
                "another account, run it as that account",
            )
    return {"HOME": _home(0)} | variables


def _runtime() -> dict[str, str]:
    """XDG_RUNTIME_DIR where it is not set, as in cron and CI, or is another's, as below su.

    What pam_systemd(8) makes at a login; any other directory that is given is meant.
    """
    own = f"/run/user/{os.getuid()}"
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given is not None and (given == own or not re.fullmatch(r"/run/user/\d+", given)):
        return {}
    if given is not None and not os.path.isdir(given):
        return {}
    try:
        mine = os.stat(own).st_uid == os.getuid()
    except OSError:
        mine = False
    return {"XDG_RUNTIME_DIR": own} if mine else {}


def temporary(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A directory of our own that goes at the end of the block.

    Not in root's TMPDIR: it may be another's, who could replace what is made there.
    """
    import tempfile

    place = "/tmp" if os.geteuid() == 0 else None  # noqa: S108
    return tempfile.TemporaryDirectory(prefix=prefix, dir=place)


def foreign_part(path: str) -> str | None:
    """The part of a path that others than root decide about; None: there is none.

    Of what is not there yet: where others could make it. What cannot be looked at is not root's.
    """
    try:
        return next((control.path for control in deciding(path)), None)
    except OSError:
        return path


def _home(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
