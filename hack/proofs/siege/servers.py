"""What evil has in its own namespace beside Runbooks: a web server without an end, a database with much in it, an account. Pure."""

from typing import Any

from demonstration import chart, manifests, platform

EVIL = "evil"
ACCOUNT = "evil"
WEB = f"http://web.{EVIL}.svc:8000"
PASSWORD = "a-password-of-the-siege"  # of a database that lives for minutes
_RBAC = "rbac.authorization.k8s.io"
Json = dict[str, Any]

ENDLESS = """
import http.server, json, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/hang"):
            time.sleep(86400)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.path.startswith("/texts"):
            self.wfile.write(json.dumps([f"a{number}" for number in range(30000)]).encode())
        elif self.path.startswith("/huge"):
            for _ in range(1024):
                self.wfile.write(b" " * (1 << 20))
    do_POST = do_GET

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""
"""`/hang` never answers, `/texts` is 30,000 short texts, `/huge` a GiB; everything else is empty."""

_ROLES = f"CREATE ROLE evil LOGIN PASSWORD '{PASSWORD}'; CREATE TABLE big AS SELECT n, false AS touched FROM generate_series(1, 600000) n; "
_GRANTS = "GRANT SELECT, UPDATE ON big TO evil;"


def servers() -> list[Json]:
    """Every object of evil's that stands before the first attack; the namespace is somebody else's to make."""
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(ACCOUNT)},
        *_rights(),
        _secret("login", username="evil", password=PASSWORD),
        _web(),
        _service("web", 8000),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("database-sql"), "data": _sql()},
        _database(),
        _service("database", 5432),
        connection("web", "http", {"url": WEB}),
        connection("database", "postgres", {"host": f"database.{EVIL}.svc", "database": "dawsos"}, "login"),
    ]


def connection(name: str, kind: str, where: Json, secret: str = "", **meta: Any) -> Json:
    """A Connection of evil's."""
    spec = {"type": kind, kind: where, **({"secretRef": {"name": secret}} if secret else {})}
    metadata = {**named(name), **meta}
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": "Connection", "metadata": metadata, "spec": spec}


def named(name: str, namespace: str = EVIL) -> Json:
    """The metadata of an object."""
    return {"name": name, "namespace": namespace}


def _sql() -> dict[str, str]:
    effects = manifests.EFFECTS_SQL.read_text().replace(':"role"', '"evil"')
    return {"10-roles.sql": _ROLES + _GRANTS, "30-effects.sql": effects}


def _rights() -> list[Json]:
    rules = [{"apiGroups": [""], "resources": ["secrets", "configmaps", "pods", "pods/log"], "verbs": ["get", "list"]}]
    subject = {"kind": "ServiceAccount", **named(ACCOUNT)}
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": ACCOUNT}
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": named(ACCOUNT), "rules": rules}
    bound = {"apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding", "metadata": named(ACCOUNT)}
    return [role, {**bound, "roleRef": reference, "subjects": [subject]}]


def _secret(name: str, **values: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": named(name), "stringData": values}


def _web() -> Json:
    container = {"image": chart.IMAGE, "command": ["python3", "-c", ENDLESS], "ports": [{"containerPort": 8000}]}
    return _deployment("web", container, {"tcpSocket": {"port": 8000}})


def _database() -> Json:
    """PostgreSQL of the sample platform's image, filled by its own start script from the ConfigMap; without a limit of memory."""
    environment = {"PGDATA": "/data/pg", "APP_PASSWORD": "-", "READ_PASSWORD": "-", "WRITE_PASSWORD": "-"}
    container = {
        "image": platform.IMAGE,
        "command": ["start-database"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("data", "tmp", "sql")],
    }
    volumes: list[Json] = [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    sql = {"name": "sql", "configMap": {"name": "database-sql"}}
    ready = {"exec": {"command": ["pg_isready", "--quiet", "--host=127.0.0.1"]}}
    return _deployment("database", container, ready, [*volumes, sql])


def _deployment(name: str, container: Json, ready: Json, volumes: list[Json] | None = None) -> Json:
    labels = {"app": name}
    probed = {
        "name": name,
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {**ready, "periodSeconds": 1},
        **container,
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532}
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": user,
        "containers": [probed],
        "volumes": volumes or [],
    }
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": named(name), "spec": spec}


def _service(name: str, port: int) -> Json:
    spec = {"selector": {"app": name}, "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": named(name), "spec": spec}
