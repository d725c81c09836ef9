"""The proxies that the corpus is sent through, each with a configuration as plain as people write it, and with connections to the
server that it keeps and uses for one client after the other."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

MODULES = Path("/usr/lib/apache2/modules")


class Proxy:
    """A proxy that runs as long as the block."""

    #: Its program.
    program: str

    def __init__(self, folder: Path, server: tuple[str, int]):
        self.folder, self.server = folder, f"{server[0]}:{server[1]}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        self.port = self.address[1]

    def __enter__(self):
        path = shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if path is None:
            raise SystemExit(f"malformed: there is no {self.program}; scripts/install-missing installs it")
        file = self.folder / "configuration"
        file.write_text(self.configuration())
        self.log = (self.folder / "log").open("wb")
        command = [path, *self.arguments(file)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(self.address) == 0:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.__exit__()
        raise SystemExit(f"malformed: {self.program} does not start: {(self.folder / 'log').read_text()}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def said(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-3_000:]

    def configuration(self) -> str:
        raise NotImplementedError

    def arguments(self, file: Path) -> list[str]:
        raise NotImplementedError


class Haproxy(Proxy):
    program = "haproxy"

    def configuration(self) -> str:
        return f"""
global
    nbthread 1
    maxconn 500
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    timeout http-request 5s
    timeout http-keep-alive 60s
    http-reuse always
    option http-keep-alive
frontend in
    bind 127.0.0.1:{self.port}
    default_backend keywheel
backend keywheel
    server one {self.server} pool-max-conn 2
"""

    def arguments(self, file: Path) -> list[str]:
        return ["-db", "-f", str(file)]


class Nginx(Proxy):
    program = "nginx"

    def configuration(self) -> str:
        return f"""
daemon off;
master_process off;
pid {self.folder}/pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {self.folder}/body;
    proxy_temp_path {self.folder}/proxy;
    fastcgi_temp_path {self.folder}/fastcgi;
    uwsgi_temp_path {self.folder}/uwsgi;
    scgi_temp_path {self.folder}/scgi;
    client_header_timeout 5s;
    client_body_timeout 5s;
    upstream keywheel {{
        server {self.server};
        keepalive 2;
        keepalive_requests 1000000;
    }}
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{self.port};
        underscores_in_headers on;
        location / {{
            proxy_pass http://keywheel;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_read_timeout 10s;
        }}
    }}
}}
"""

    def arguments(self, file: Path) -> list[str]:
        return ["-p", str(self.folder), "-e", "stderr", "-c", str(file)]


class Apache(Proxy):
    program = "apache2"

    def configuration(self) -> str:
        modules = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        loaded = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules)
        user = "User nobody\nGroup nogroup" if os.getuid() == 0 else ""
        return f"""
ServerRoot {self.folder}
DefaultRuntimeDir {self.folder}
ServerName a
Listen 127.0.0.1:{self.port}
PidFile {self.folder}/pid
ErrorLog /dev/stderr
LogLevel error
{loaded}
{user}
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
Timeout 10
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
ProxyRequests Off
ProxyPass "/" "http://{self.server}/" max=24 timeout=10 retry=0
"""

    def arguments(self, file: Path) -> list[str]:
        return ["-DFOREGROUND", "-f", str(file)]


PROXIES = {"haproxy": Haproxy, "nginx": Nginx, "apache": Apache}
