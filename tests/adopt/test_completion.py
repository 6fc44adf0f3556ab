"""Claims about shell completion: a real bash completes commands, options and files, and loads no command for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_mcp_governance.cli import main

_PROGRAM = f"#!{sys.executable}\nfrom pytest_mcp_governance.cli import main\nmain(prog_name='mcp-governance')\n"


def environment(folder: Path) -> dict[str, str]:
    """One in which `mcp-governance` is this checkout's."""
    program = folder / "bin" / "mcp-governance"
    program.parent.mkdir(exist_ok=True)
    program.write_text(_PROGRAM)
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


def completed(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words, after sourcing the script that we print."""
    listed = " ".join(f"'{word}'" for word in words)
    script = f"""
        compopt() {{ printf 'compopt %s\\n' "$*"; }}
        eval "$(mcp-governance completion bash)" || exit 9
        COMP_WORDS=(mcp-governance {listed}) COMP_CWORD={len(words)}
        $(complete -p mcp-governance | sed 's/.*-F \\([^ ]*\\).*/\\1/') mcp-governance
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    bash = shutil.which("bash")
    assert bash is not None, "bash is needed: it is the shell whose completion is tested"
    ended = subprocess.run(
        [bash, "--norc", "-c", script],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    assert {"init", "lock", "verify"} <= set(completed(tmp_path, ""))
    assert completed(tmp_path, "ini") == ["init"]
    assert {"--check", "--servers", "--out"} <= set(completed(tmp_path, "lock", "--"))
    assert completed(tmp_path, "completion", "z") == ["zsh"]
    assert completed(tmp_path, "policy", "d") == ["diff"]


def test_bash_completes_files_where_a_file_is_asked_for(tmp_path: Path) -> None:
    offered = completed(tmp_path, "lock", "--servers", "ser")
    assert offered == ["compopt", "-o", "default"]  # bash completes them itself, once it is told to


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_MCP_GOVERNANCE_COMPLETE={shell}_complete" in result.output


def test_completing_the_name_of_a_command_loads_none(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pytest_mcp_governance.cli import main\n"
        "try:\n    main(prog_name='mcp-governance')\nexcept SystemExit:\n    pass\n"
        "print(sorted(n for n in sys.modules if n.startswith('pytest_mcp_governance')))\n"
    )
    env = {
        **os.environ,
        "_MCP_GOVERNANCE_COMPLETE": "bash_complete",
        "COMP_WORDS": "mcp-governance ",
        "COMP_CWORD": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert "plain,init" in ended.stdout
    assert ended.stdout.splitlines()[-1] == (
        "['pytest_mcp_governance', 'pytest_mcp_governance.cli', 'pytest_mcp_governance.cli.streams']"
    )
