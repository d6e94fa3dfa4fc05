"""Makes the certificates of a server that speaks TLS, and those of its clients, by openssl. Knows no suite.

Their authority is ca.pem. server.pem is the server's, renewed.pem what may take its place; client.pem shows who a client is,
stranger.pem is signed by nobody. The key of each stands beside it (server.key).
"""

import pathlib

import downloads

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
DAYS = ["-days", "30"]
HERE = "subjectAltName=DNS:localhost,IP:127.0.0.1\n"


def make(folder):
    folder = pathlib.Path(folder)
    extensions = folder / "extensions"
    extensions.write_text(HERE)
    for name in ["ca", "stranger"]:
        openssl(folder, "req", "-x509", *KEY, *DAYS, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ["server", "renewed", "client"]:
        openssl(folder, "req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", extensions]
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signed, *DAYS, "-out", f"{name}.pem")


def openssl(folder, *words):
    downloads.run("openssl", *words, cwd=folder)
