# noxfile.py
"""Sessions of nox."""

import nox


@nox.session
def nonblocking(session: nox.Session) -> None:
    """No endpoint blocks the event loop."""
    session.install("-e", ".", "pytest-nonblocking[all]")
    report = f"--nonblocking-report={session.create_tmp()}/nonblocking.json"
    session.run("pytest", "-m", "nonblocking", "--nonblocking-require=1", report, *session.posargs)
