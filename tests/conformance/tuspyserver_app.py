"""tuspyserver as its documentation mounts it, for `uvicorn.run`: arguments are the directory and the port."""

import sys

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from tuspyserver import create_tus_router

EXPOSED = [
    "Location",
    "Upload-Offset",
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Upload-Expires",
    "Upload-Length",
]

if __name__ == "__main__":
    app = FastAPI()
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED
    )
    app.include_router(create_tus_router(prefix="files", files_dir=sys.argv[1]))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="critical")
