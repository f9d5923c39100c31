"""A kazoo client whose calls are made again when the connection was lost with them: what says then that it has been
done already is success, as a program in earnest would have it. Each time it says `(lost)`, so that the reader of the
output knows that the next line may differ."""

from kazoo.client import KazooClient
from kazoo.exceptions import (BadVersionError, ConnectionLoss, NodeExistsError, NoNodeError, OperationTimeoutError,
                              SessionMovedError)

LOST = (ConnectionLoss, OperationTimeoutError, SessionMovedError)


class Client(KazooClient):
    def say_lost(self):
        print("(lost)", flush=True)

    def again(self, function, *args, done=(), result=None, **named):
        """function(...), until it has an answer; `done` are the errors that then mean that it was done."""
        lost = False
        while True:
            try:
                return function(*args, **named)
            except LOST:
                self.say_lost()
                lost = True
            except done:
                if not lost:
                    raise
                return result() if result else True

    def create(self, path, *args, **named):
        return self.again(super().create, path, *args, done=NodeExistsError, result=lambda: path, **named)

    def delete(self, *args, **named):
        return self.again(super().delete, *args, done=NoNodeError, **named)

    def set(self, path, *args, **named):
        return self.again(super().set, path, *args, done=BadVersionError, result=lambda: self.exists(path), **named)

    def set_acls(self, path, *args, **named):
        return self.again(super().set_acls, path, *args, done=BadVersionError, result=lambda: self.exists(path),
                          **named)

    def get(self, *args, **named):
        return self.again(super().get, *args, **named)

    def exists(self, *args, **named):
        return self.again(super().exists, *args, **named)

    def get_children(self, *args, **named):
        return self.again(super().get_children, *args, **named)

    def get_acls(self, *args, **named):
        return self.again(super().get_acls, *args, **named)

    def sync(self, *args, **named):
        return self.again(super().sync, *args, **named)

    def add_auth(self, *args, **named):
        return self.again(super().add_auth, *args, **named)

    def ensure_path(self, *args, **named):
        return self.again(super().ensure_path, *args, **named)
