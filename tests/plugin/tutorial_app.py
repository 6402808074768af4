"""Applications in the manner of FastAPI's tutorial, as a scan meets them."""

import asyncio
import contextlib
import enum
import sqlite3
from typing import Annotated

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
)
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pydantic import BaseModel, Field

ROWS = 20
DATABASE = "file:heroes?mode=memory&cache=shared"


class Size(str, enum.Enum):
    """Sizes of the shop."""

    small = "small"
    large = "large"


class Item(BaseModel):
    """An item of the shop."""

    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


def connect():
    """Return a connection to the heroes."""
    return sqlite3.connect(DATABASE, uri=True, check_same_thread=False)


@contextlib.asynccontextmanager
async def lifespan(app):
    """Hold the database for as long as the app runs."""
    with contextlib.closing(connect()) as connection:
        connection.execute("create table hero (id integer primary key, name text)")
        names = [(f"hero {number}",) for number in range(ROWS)]
        connection.executemany("insert into hero (name) values (?)", names)
        connection.commit()
        yield


app = FastAPI(lifespan=lifespan)
heroes = APIRouter(prefix="/heroes", tags=["heroes"])
token = OAuth2PasswordBearer(tokenUrl="token")


@app.get("/")
async def root():
    """Answer."""
    return {"message": "hello"}


@app.get("/items")
async def items(skip: int = 0, limit: int = 10):
    """List items."""
    await asyncio.sleep(0.005)
    return [{"item_id": f"item-{number}"} for number in range(skip, skip + limit)]


@app.get("/items/{item_id}")
async def item(item_id: str):
    """Answer with an item that exists."""
    if not item_id.startswith("item-"):
        raise HTTPException(404, "no such item")
    return {"item_id": item_id}


@app.get("/sizes/{size}")
async def size(size: Size):
    """Take an enumerated value."""
    return {"size": size}


@app.get("/files/{path:path}")
async def file(path: str):
    """Take a path."""
    return {"path": path}


@app.get("/numbers/{number}")
async def number(number: Annotated[int, Path(ge=10, le=20)]):
    """Take a number within limits."""
    return {"number": number}


@app.get("/search")
async def search(q: Annotated[str, Query(min_length=8, max_length=20)]):
    """Take a query of some length."""
    return {"q": q}


@app.get("/traced")
async def traced(x_trace: Annotated[str, Header()], session: Annotated[str, Cookie()]):
    """Take a header and a cookie."""
    return {"trace": x_trace, "session": session}


@app.get("/me")
async def me(token: Annotated[str, Depends(token)]):
    """Answer to those who have logged in."""
    return {"token": token}


@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]):
    """Log in."""
    return {"access_token": form.username, "token_type": "bearer"}


@app.post("/items")
async def create(item: Item):
    """Take a body."""
    return item


@app.post("/forms")
async def form(name: Annotated[str, Form()]):
    """Take a form."""
    return {"name": name}


@app.post("/uploads")
async def upload(data: Annotated[bytes, File()]):
    """Take a file."""
    return {"size": len(data)}


@app.get("/notify")
async def notify(tasks: BackgroundTasks):
    """Work on after the response."""
    tasks.add_task(asyncio.sleep, 0.01)


@app.get("/stream")
async def stream():
    """Answer in parts."""

    async def parts():
        for _ in range(5):
            yield b"part"
            await asyncio.sleep(0.002)

    return StreamingResponse(parts())


@app.get("/old")
async def old():
    """Answer with a redirection."""
    return RedirectResponse("/items")


@app.get("/whoami")
async def whoami(request: Request):
    """Read the request itself."""
    return {"host": request.client.host}


@heroes.get("")
def all_heroes():
    """Read a database in the thread pool."""
    with contextlib.closing(connect()) as connection:
        rows = connection.execute("select id, name from hero").fetchall()
    return [{"id": key, "name": name} for key, name in rows]


@heroes.get("/{hero_id}")
def hero(hero_id: int):
    """Read a row that exists."""
    with contextlib.closing(connect()) as connection:
        row = connection.execute("select name from hero where id = ?", (hero_id,)).fetchone()
    if row is None:
        raise HTTPException(404, "no such hero")
    return {"name": row[0]}


app.include_router(heroes)
