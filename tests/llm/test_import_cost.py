"""What importing the models costs a server that is never asked for one."""

import subprocess
import sys


def test_settings_and_models_are_imported_without_an_http_client():
    code = "import sys, rlm_mcp.llm.models; print('httpx' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert child.stdout.strip() == "False"
