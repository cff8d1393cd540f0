#!/usr/bin/env python3
"""Whoever notifications are sent to: mail servers that somebody else wrote (aiosmtpd), and a web server of Python.

usage: notification_receivers.py FOLDER

Prints one line of JSON with the ports when it is ready, and ends when its standard input does. What arrives is written
to FOLDER: mails as N.mail.json, events as N.event.json, in the order in which they arrived.

Mail servers: `starttls` demands STARTTLS and a password, `implicit` speaks TLS from the first byte, `plain` knows no
TLS. They take every mail but those to gone@… (550, for good) and the first one to busy@… (451, later).
The web server speaks HTTPS at /hook. It takes an event if its signature is right, by the example of the documentation;
/moved redirects to /hook.
"""

import asyncio
import email
import http.server
import json
import pathlib
import re
import ssl
import sys
import threading

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

FOLDER = pathlib.Path(sys.argv[1])
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "notifications.md"
USER, PASSWORD = b"godwit", b"a password"
LOCK = threading.Lock()
BUSY = set()


def write(kind, content):
    with LOCK:
        n = len(list(FOLDER.glob("*.json")))
        beside = FOLDER / "new"
        beside.write_text(json.dumps(content))
        beside.rename(FOLDER / f"{n:03}.{kind}.json")


def documented_check():
    """The function that the documentation gives to receivers."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "def is_genuine" in block)
    names = {}
    exec(code, names)
    return names["is_genuine"]


class Mails:
    """What the mail servers do with mails."""

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such mailbox here"
        if address.startswith("busy@") and address not in BUSY:
            BUSY.add(address)
            return "451 4.3.2 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content)
        headers = {name.lower(): str(email.header.make_header(email.header.decode_header(value))) for name, value in mail.items()}
        text = mail.get_payload(decode=True).decode()
        write("mail", {
            "to": envelope.rcpt_tos, "headers": headers, "text": text,
            "tls": server.transport.get_extra_info("sslcontext") is not None, "authenticated": bool(session.authenticated),
        })
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = mechanism in ("PLAIN", "LOGIN") and (data.login, data.password) == (USER, PASSWORD)
    return AuthResult(success=good, handled=good)


def mail_server(tls, **more):
    return SMTP(Mails(), hostname="localhost", tls_context=tls, **more)


class Events(http.server.BaseHTTPRequestHandler):
    """What the web server does with events."""

    is_genuine = staticmethod(documented_check())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/moved":
            self.send_response(307)
            self.send_header("Location", "/hook")
            self.end_headers()
            return
        secret = (FOLDER / "secret").read_text().strip()
        genuine = self.is_genuine(secret, self.headers, body)
        forged = any([
            self.is_genuine(secret + "x", self.headers, body),
            self.is_genuine(secret, self.headers, body + b" "),
        ])
        headers = {name.lower(): value for name, value in self.headers.items()}
        write("event", {"genuine": genuine, "forged": forged, "headers": headers, "body": json.loads(body)})
        self.send_response(204 if genuine else 403)
        self.end_headers()

    def log_message(self, *args):
        pass


def web_server(tls):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Events)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


async def main():
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(FOLDER / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    demanding = {
        "require_starttls": True, "auth_required": True, "auth_require_tls": True, "authenticator": authenticate,
    }
    loop = asyncio.get_running_loop()
    servers = {
        "starttls": await loop.create_server(lambda: mail_server(tls, **demanding), "127.0.0.1", 0),
        "implicit": await loop.create_server(lambda: mail_server(None), "127.0.0.1", 0, ssl=tls),
        "plain": await loop.create_server(lambda: mail_server(None), "127.0.0.1", 0),
    }
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    print(json.dumps({**ports, "https": web_server(tls)}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
