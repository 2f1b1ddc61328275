"""tuspyserver as its documentation mounts it, quiet. Arguments: port, folder of the uploads."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from tuspyserver import create_tus_router

if __name__ == "__main__":
    app = FastAPI()
    app.include_router(create_tus_router(prefix="files", files_dir=sys.argv[2]))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
