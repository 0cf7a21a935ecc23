# SPDX-License-Identifier: Apache-2.0
"""A node of your own that asks a running penguin node and prints the answer and its frames.

    python examples/ask_from_your_node.py "How many things are there?"

Add `--ros-args -r __ns:=/robot1` when the penguin node lives in the namespace /robot1.
"""

import sys
from typing import Any

import rclpy
from penguin_msgs.action import AnswerQuestion
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from rclpy.utilities import remove_ros_args


class Asker(Node):
    """Asks through the action, which shows the text while it grows."""

    def __init__(self) -> None:
        super().__init__('asker')
        self._client = ActionClient(self, AnswerQuestion, 'penguin/answer_question')

    def ask(self, question: str) -> Any:
        """Returns the penguin_msgs/msg/Answer; TimeoutError when no penguin node is there."""
        if not self._client.wait_for_server(timeout_sec=10.0):
            raise TimeoutError('no penguin node offers its action within 10 s')
        goal = self._client.send_goal_async(AnswerQuestion.Goal(question=question), self._show)
        return self._finished(self._finished(goal).get_result_async()).result.answer

    def _show(self, message: Any) -> None:
        self.get_logger().info(f'so far: {message.feedback.text}')

    def _finished(self, future: Future) -> Any:
        rclpy.spin_until_future_complete(self, future)
        return future.result()


def main() -> int:
    """Asks the first argument; the exit code is 1 when the answer is an error."""
    words = remove_ros_args(sys.argv)[1:]
    rclpy.init()
    answer = Asker().ask(' '.join(words) or 'What do you see?')
    print(f'answer: {answer.text or answer.error_message}')
    for frame in answer.evidence.frames:
        print(f'frame:  {frame.stamp.sec}.{frame.stamp.nanosec:09d} of {frame.camera}')
    rclpy.shutdown()
    return 1 if answer.error_code else 0


if __name__ == '__main__':
    sys.exit(main())
