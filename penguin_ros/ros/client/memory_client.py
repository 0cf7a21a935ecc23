# SPDX-License-Identifier: Apache-2.0
"""Asks a running memory node about the past: recall, last seen, look again, summarise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penguin_ros.errors import DeadlineExceeded, PenguinError, RequestCancelled
from penguin_ros.ros.client.session import NodeNotFound, Session

SERVICE_TYPE = 'penguin_msgs/srv/Recall'
SERVICE_NAME = 'recall'
RESEND_S = 10.0
"""A response may be lost while client and node find each other; searches are then sent again."""
CANCEL_S = 5.0


class MemoryRefused(PenguinError):
    """The memory node answered with an error; its message says what, why and what to do, `code` is
    its constant of ErrorCode.
    """

    def __init__(self, what: str, code: int = 0) -> None:
        super().__init__(what)
        self.code = code


def memory_nodes(session: Session) -> list[str]:
    """Returns the memory nodes that are on the air; more may appear while discovery goes on."""
    offered = {
        service.rpartition('/')[0]
        for service, types in session.node.get_service_names_and_types()
        if SERVICE_TYPE in types and service.rpartition('/')[2] == SERVICE_NAME
    }
    return sorted(offered & session.node_names())


def find_memory(session: Session, name: str = '', timeout_s: float = 5.0) -> str:
    """Returns the full name of the memory node called `name`, or of the only one there is.

    NodeNotFound when there is no such node within the time, or several and none was named.
    """
    wanted = name if name.startswith('/') or not name else f'/{name}'
    found = session.discover(lambda: memory_nodes(session), wanted, timeout_s)
    if not found or wanted not in ('', *found):
        listed = f'running: {", ".join(found)}' if found else 'none runs on this ROS_DOMAIN_ID'
        raise NodeNotFound(
            f'no memory node {wanted}'.rstrip(),
            listed,
            'Start one with: memory_node, or give --store DIR, which needs no ROS',
        )
    if not wanted and len(found) > 1:
        raise NodeNotFound(
            'several memory nodes run', ', '.join(found), 'Choose one with --node NAME'
        )
    return wanted or found[0]


class MemoryClient:
    """Asks the memory node called `name`; everything runs on the thread that spins the session."""

    def __init__(self, session: Session, name: str) -> None:
        self.name = name
        self._session = session

    def recall(self, fields: Mapping[str, Any], timeout_s: float) -> Any:
        """Returns the Recall response to a request of these fields; MemoryRefused when it holds an
        error, DeadlineExceeded when none comes.
        """
        from penguin_msgs.srv import Recall

        return self._called(Recall, 'recall', fields, timeout_s, RESEND_S)

    def last_seen(self, fields: Mapping[str, Any], timeout_s: float) -> Any:
        """Returns the LastSeen response."""
        from penguin_msgs.srv import LastSeen

        return self._called(LastSeen, 'last_seen', fields, timeout_s, timeout_s)

    def look_again(self, fields: Mapping[str, Any], timeout_s: float) -> Any:
        """Returns the LookAgain response."""
        from penguin_msgs.srv import LookAgain

        return self._called(LookAgain, 'look_again', fields, timeout_s, timeout_s)

    def newest(self, timeout_s: float) -> Any:
        """Returns the stamp of the newest entry, a builtin_interfaces/Time; None without any."""
        found = self.recall({'limit': 1, 'is_newest_first': True}, timeout_s).entries
        return found[0].end if found else None

    def summarise(
        self, fields: Mapping[str, Any], on_feedback: Callable[[Any], None], timeout_s: float
    ) -> Any:
        """Returns the result of a Summarise goal; an interrupt cancels it."""
        from penguin_msgs.action import Summarise
        from rclpy.action import ActionClient

        action = ActionClient(self._session.node, Summarise, f'{self.name}/summarise')
        self._wait(action.server_is_ready, timeout_s)
        sent = action.send_goal_async(
            Summarise.Goal(**fields), feedback_callback=lambda told: on_feedback(told.feedback)
        )
        self._wait(sent.done, timeout_s)
        handle = sent.result()
        result = handle.get_result_async()
        try:
            self._wait(result.done, timeout_s)
        except (KeyboardInterrupt, DeadlineExceeded):
            self._session.spin_until(handle.cancel_goal_async().done, CANCEL_S)
            raise
        return _checked(result.result().result, self.name)

    def _called(
        self, kind: Any, name: str, fields: Mapping[str, Any], timeout_s: float, resend_s: float
    ) -> Any:
        session, node = self._session, self._session.node
        client = session.do(lambda: node.create_client(kind, f'{self.name}/{name}'))
        try:
            self._wait(client.service_is_ready, timeout_s)
            left_s = timeout_s
            while True:
                future = session.do(lambda: client.call_async(kind.Request(**fields)))
                if session.spin_until(future.done, min(resend_s, left_s)):
                    return _checked(future.result(), self.name)
                left_s -= resend_s
                if left_s <= 0:
                    raise self._silence(timeout_s)
        finally:
            session.do(lambda: node.destroy_client(client))

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        if not self._session.spin_until(condition, timeout_s):
            raise self._silence(timeout_s)

    def _silence(self, timeout_s: float) -> DeadlineExceeded:
        return DeadlineExceeded(
            f'no answer from {self.name}', f'waited {timeout_s:g} s', 'Type: penguin doctor'
        )


def _checked(response: Any, name: str) -> Any:
    """Returns the response; what it says is wrong is raised."""
    from penguin_msgs.msg import ErrorCode

    if response.success:
        return response
    code = getattr(response, 'error_code', 0) or getattr(response, 'answer', response).error_code
    if code == ErrorCode.CANCELLED:
        raise RequestCancelled(response.message)
    raise MemoryRefused(f'{name}: {response.message}', code)
