"""What people's scripts do with marathon-python, against a real controller. Arguments: URL, token."""
import collections
import collections.abc
import sys
import threading
import time

collections.Iterable = collections.abc.Iterable  # marathon-python 0.13 was written for Python before 3.10

from marathon import MarathonClient, MarathonHttpError, NotFoundError
from marathon.models import MarathonApp, MarathonHealthCheck
from marathon.models.container import MarathonContainer
from marathon.models.events import MarathonStatusUpdateEvent

url, token = sys.argv[1:]
client = MarathonClient(url, username="any", password=token, timeout=10)


def until(what, holds):
    end = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def settled():
    until("no deployment is left", lambda: client.list_deployments() == [])


assert client.ping() == b"pong"
assert client.get_info().name == "marathon"
assert ":" in client.get_leader()["leader"]
assert client.list_apps() == []
assert client.get_metrics()["version"] == "3.0.0"

seen = []


def listen():
    for event in client.event_stream(event_types=[MarathonStatusUpdateEvent]):
        seen.append(event)


threading.Thread(target=listen, daemon=True).start()

container = {
    "type": "DOCKER",
    "docker": {
        "image": "10.64.231.45:5000/s3pics:2.0",
        "network": "BRIDGE",
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "protocol": "tcp"}],
    },
}
checks = [MarathonHealthCheck(protocol="HTTP", port_index=0, path="/", grace_period_seconds=10)]
definition = MarathonApp(
    cmd="cd /s3pics; ./s3pics", cpus=0.1, mem=64.0, instances=2, health_checks=checks,
    container=MarathonContainer.from_json(container), constraints=[["hostname", "LIKE", ".*"]],
    labels={"tier": "web"}, upgrade_strategy={"minimumHealthCapacity": 0.5},
)
created = client.create_app("s3pics", definition)
assert created.id == "/s3pics" and created.deployments, created
settled()

app = client.get_app("/s3pics", embed_tasks=True)
assert (app.tasks_running, app.tasks_healthy, app.instances) == (2, 2, 2), app
assert [check.protocol for check in app.health_checks] == ["HTTP"]
assert app.container.docker.port_mappings[0].container_port == 8080
assert app.constraints[0].operator == "LIKE" and app.upgrade_strategy.minimum_health_capacity == 0.5
task = app.tasks[0]
assert task.app_id == "/s3pics" and task.ports[0] >= 31000 and task.health_check_results[0].alive, task
assert [one.id for one in client.list_apps(cmd="S3PICS", label="tier==web")] == ["/s3pics"]
assert {one.id for one in client.list_tasks("/s3pics")} == {one.id for one in app.tasks}
assert len(client.list_tasks()) == 2
assert client.list_queue() == []
endpoints = client.list_endpoints()
assert {(one.host, one.task_port) for one in endpoints} == {(one.host, one.ports[0]) for one in app.tasks}, endpoints

try:
    client.create_app("/s3pics", definition)
    raise AssertionError("an app cannot be created twice")
except MarathonHttpError as error:
    assert error.status_code == 409 and "already exists" in error.error_message, error
try:
    client.get_app("/none")
    raise AssertionError("there is no such app")
except NotFoundError as error:
    assert error.error_message == "App '/none' does not exist", error

client.scale_app("/s3pics", instances=4)
settled()
app = client.get_app("/s3pics")
assert app.instances == 4 and len(app.tasks) == 4, app
app.mem = 32
client.update_app("/s3pics", app, minimal=False)
settled()
app = client.get_app("/s3pics")
assert app.mem == 32 and all(one.version == app.version for one in app.tasks), app
versions = client.list_versions("/s3pics")
assert len(versions) == 3 and client.get_version("/s3pics", versions[-1]).instances == 2, versions
client.rollback_app("/s3pics", versions[-1])
settled()
assert client.get_app("/s3pics").mem == 64
client.restart_app("/s3pics")
settled()

killed = client.kill_task("/s3pics", client.list_tasks("/s3pics")[0].id, scale=True)
assert killed.app_id == "/s3pics"
settled()
assert client.get_app("/s3pics").instances == 1
killed = client.kill_tasks("/s3pics")
assert len(killed) == 1
ids = lambda: [one.id for one in client.list_tasks("/s3pics")]
replaced = lambda now: len(now) == 1 and now != [killed[0].id]
until("the task was replaced", lambda: replaced(ids()))
assert client.kill_given_tasks(ids())

client.create_app("big", MarathonApp(cmd="sleep 1", cpus=1000, instances=1))
until("it waits", lambda: [one.app.id for one in client.list_queue()] == ["/big"])
deployment = client.list_deployments()[0]
assert deployment.affected_apps == ["/big"] and deployment.steps, deployment
try:
    client.scale_app("/big", instances=2)
    raise AssertionError("a locked app cannot be changed")
except MarathonHttpError as error:
    assert error.status_code == 409 and "locked" in error.error_message, error
client.reset_delay("/big")
client.delete_deployment(deployment.id)
settled()
assert [one.id for one in client.list_apps()] == ["/s3pics"]
client.delete_app("/s3pics")
settled()
until("nothing is left", lambda: client.list_tasks() == [])
until("events were told", lambda: {one.task_status for one in seen} >= {"TASK_RUNNING", "TASK_KILLED"})
print("ok")
