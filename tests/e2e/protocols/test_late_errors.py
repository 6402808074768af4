"""What an app raises when its client has the whole response."""

import pytest


@pytest.mark.parametrize("marker", ["asyncio", "nonblocking(concurrency=8)"])
def test_what_the_app_raises_after_its_response_fails_the_test(pytester, marker):
    pytester.makepyfile(
        f"""
        import asyncio, pytest
        from fastapi import BackgroundTasks, FastAPI

        app = FastAPI()

        async def send_mail():
            await asyncio.sleep(0.05)
            raise ValueError("no such mailbox")

        @app.get("/")
        async def root(tasks: BackgroundTasks):
            tasks.add_task(send_mail)

        @pytest.fixture
        def nonblocking_app():
            return app

        @pytest.mark.{marker}
        async def test_it(nonblocking_client):
            assert (await nonblocking_client.get("/")).status_code == 200
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: no such mailbox"])
