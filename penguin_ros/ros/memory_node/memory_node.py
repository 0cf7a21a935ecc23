# SPDX-License-Identifier: Apache-2.0
"""The memory node: it connects what is heard with the store, and questions with both.

Everything here runs on the executor's thread.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from penguin_ros.errors import PenguinError
from penguin_ros.memory.embedder import included_embedder
from penguin_ros.memory.entry import Kind, NewEntry
from penguin_ros.memory.store import Store, StoreStats
from penguin_ros.picture_buffer import Picture
from penguin_ros.ros.conversions.parameters import NumbersAsDeclared
from penguin_ros.ros.memory_node.background import Background
from penguin_ros.ros.memory_node.diagnostics import (
    PERIOD_S,
    STATS_PERIOD_S,
    MemorySnapshot,
    diagnostic_array,
)
from penguin_ros.ros.memory_node.key_frames import KeyFrames
from penguin_ros.ros.memory_node.listener import Listener
from penguin_ros.ros.memory_node.look_endpoints import LookEndpoints
from penguin_ros.ros.memory_node.parameters import MemoryParameters, memory_parameters
from penguin_ros.ros.memory_node.penguin_client import PenguinClient
from penguin_ros.ros.memory_node.recall_endpoint import RecallEndpoint
from penguin_ros.ros.memory_node.recorder import Recorder
from penguin_ros.ros.memory_node.summarise_endpoint import SummariseEndpoint
from penguin_ros.ros.memory_node.transforms import NoTransforms, Transforms, open_transforms
from penguin_ros.ros.node.surroundings import NodeWatch, on_clock_jump
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue

NODE_NAME = 'memory'
CLOSE_S = 2.0


class MemoryNode(NumbersAsDeclared, Node):
    """Remembers from its making to `close`.

    SettingError when a parameter does not fit; StoreInUse, StoreTooNew, StoreError or SystemRefusal
    when the store cannot be opened.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(NODE_NAME, **node_arguments)
        self.guard = CallbackGuard(self.get_logger())
        self.parameters: MemoryParameters = memory_parameters(self)
        config = self.parameters.config
        self._store = Store.open(self.parameters.folder, config.store)
        self._executor_queue = ExecutorQueue(self, self.guard)
        self._background = Background(self, self._executor_queue, self.guard)
        self._transforms = self._opened_transforms()
        nodes = self.parameters.nodes
        self._key_frames = KeyFrames(self, nodes, config.picture, self.guard, self.guard.report)
        self._recorder = Recorder(
            self._store,
            self._transforms,
            self._picture_for,
            config.pose,
            config.queue,
            self.guard.report,
        )
        self._listener = Listener(self, nodes, self._recorder, self.guard)
        self._client = PenguinClient(self, nodes, self._background)
        self._open_services()
        self._open_diagnostics()
        self._jumps = on_clock_jump(self, self.guard.wrap(self._on_clock_jump))
        self._begin()

    def close(self) -> None:
        """Stores what was heard, and closes the store; to be called before the context goes."""
        self._key_frames.close()
        self._background.close()
        if not self._recorder.close(CLOSE_S):
            self.get_logger().warning('the disk is slow: the last captions may be lost')
        self._store.close()

    def destroy_node(self) -> None:
        """Destroys also what rclpy does not destroy by itself."""
        self._jumps.unregister()
        self._summarise.close()
        self._client.close()
        super().destroy_node()

    def _begin(self) -> None:
        """Begins to record, in a session of its own where time may have begun anew."""
        stats = self._store.stats()
        if stats.note:
            self.get_logger().warning(stats.note)
        self._recorder.start()
        if self.parameters.config.recall.meaning:
            # It reads a table of some megabytes, and vectors of all that is stored.
            self._background.start(self._use_meaning)
        if self.get_parameter('use_sim_time').value:
            self._recorder.begin_session('the node was started in simulated time')
        self.get_logger().info(
            f'remembers {", ".join(self.parameters.nodes)} in {self.parameters.folder} '
            f'({sum(stats.entries.values())} entries so far); poses by {self._transforms.reader}; '
            f'pictures {"on" if self.parameters.config.picture.enabled else "off"}'
        )

    def _opened_transforms(self) -> Transforms:
        pose = self.parameters.config.pose
        if not pose.base_frame:
            return NoTransforms('pose.base_frame is empty')
        return open_transforms(self, self.guard, pose.keep)

    def _open_services(self) -> None:
        config, report = self.parameters.config, self.guard.report
        RecallEndpoint(self, self._store, self._background, report)
        LookEndpoints(self, self._store, self._client, self._background, config.look, report)
        self._summarise = SummariseEndpoint(
            self, self._store, self._client, self._background, (config.summary, config.look), report
        )

    def _open_diagnostics(self) -> None:
        self._watch = NodeWatch(self)
        self._stats: StoreStats | None = None
        self._new = 0, 0
        self._is_asking_stats = False
        # By convention this one topic is global, so that one aggregator sees all nodes.
        self._diagnostics = self.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        group, clock = ReentrantCallbackGroup(), Clock(clock_type=ClockType.STEADY_TIME)
        for period_s, call in ((PERIOD_S, self._publish), (STATS_PERIOD_S, self._ask_stats)):
            self.create_timer(period_s, self.guard.wrap(call), callback_group=group, clock=clock)

    def _use_meaning(self) -> None:
        """Lets entries be found by meaning, where that is possible; on a background thread."""
        try:
            self._store.use_embedder(included_embedder())
        except PenguinError as error:
            self.get_logger().info(f'entries are found by words, time and place only: {error}')
        except Exception as error:
            self.guard.report('preparing the search by meaning', error)

    # --- while it runs ----------------------------------------------------------------------------

    def _picture_for(self, entry: NewEntry) -> Picture | None:
        """Returns the picture for an entry; on the recorder's thread."""
        if entry.kind is Kind.ANSWER:
            return None
        return self._key_frames.picture_for(entry)

    def _on_clock_jump(self, reason: str) -> None:
        self.get_logger().warning(f'{reason}: a new session begins, in which stamps compare')
        self._transforms.clear()
        self._key_frames.clear()
        self._recorder.begin_session(reason)

    def _ask_stats(self) -> None:
        if not self._is_asking_stats and self.executor is not None:
            self._is_asking_stats = True
            self.executor.create_task(self._take_stats)

    async def _take_stats(self) -> None:
        try:
            before, now = self._stats, await self._background.run(self._store.stats)
            self._new = (
                sum(now.errors.values()) - (sum(before.errors.values()) if before else 0),
                now.dropped - (before.dropped if before else 0),
            )
            self._stats = now
        except Exception as error:
            self.guard.report('asking the store for its state', error)
        finally:
            self._is_asking_stats = False

    def _publish(self) -> None:
        self._diagnostics.publish(diagnostic_array(self._snapshot()))

    def _snapshot(self) -> MemorySnapshot:
        config, recorder = self.parameters.config, self._recorder
        failure = recorder.last_error
        return MemorySnapshot(
            name=self.get_fully_qualified_name(),
            stamp=self.get_clock().now().to_msg(),
            folder=str(self.parameters.folder),
            stats=self._stats,
            new_errors=self._new[0],
            new_drops=self._new[1],
            missing=self._listener.missing(),
            nodes=self.parameters.nodes,
            waiting=recorder.waiting,
            counts=Counter(dict(recorder.counts)) + self._listener.counts,
            failure='' if failure is None else str(failure),
            reader=self._transforms.reader,
            reader_state=self._transforms.state,
            problem=recorder.pose_problem,
            pose_frames=(config.pose.map_frame, config.pose.base_frame),
            pose_values=self._transforms.values(),
            is_taking_pictures=config.picture.enabled,
            picture_counts=dict(self._key_frames.counts),
            pictures_waiting=self._key_frames.size,
            faults=self.guard.faults,
            last_fault=self.guard.last_fault,
            warnings=self._watch.warnings(),
        )
