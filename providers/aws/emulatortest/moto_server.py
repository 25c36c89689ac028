"""Serves moto's DynamoDB on a free port of this machine, one request at a time.

moto's own server runs requests side by side, and nothing in it locks. A condition is tested and then the item put, so that of two conditional
writes both may succeed. A transaction that fails puts back a copy of the whole table, without what others have written meanwhile. A query
fails if an item is put while it looks. DynamoDB does none of that.
"""

from threading import Lock

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

dynamodb, turn = create_backend_app("dynamodb"), Lock()


def one_at_a_time(environ, start_response):
    with turn:
        return dynamodb(environ, start_response)


# A thread for each connection, since one for all would wait for the next request on whichever it has taken first.
run_simple("127.0.0.1", 0, one_at_a_time, threaded=True, request_handler=MotoRequestHandler)
