# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: it connects parameters, cameras, captions, questions and diagnostics with the
core's pipeline.

configure loads the model, activate subscribes and serves, deactivate ends every request with
INACTIVE, cleanup frees the model. Everything runs on the executor's thread except `on_configure`
and `on_cleanup`, which have a thread of their own (transitions.py), and the pipeline's worker,
whose results come through the executor queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from penguin_ros.clip_buffer import Admission
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import DeviceLost, Inactive, PenguinError
from penguin_ros.frame import Frame
from penguin_ros.pipeline import BackendFactory, Pipeline
from penguin_ros.pipeline_status import PipelineStatus
from penguin_ros.ros.camera_input.camera_input import CameraInput, FrameSinks
from penguin_ros.ros.conversions.parameters import NumbersAsDeclared
from penguin_ros.ros.conversions.topics import CameraSetting
from penguin_ros.ros.node.captions import CaptionPublisher
from penguin_ros.ros.node.clock_watch import ClockWatch
from penguin_ros.ros.node.diagnostics import Diagnostics
from penguin_ros.ros.node.lifecycle_advice import typed
from penguin_ros.ros.node.model_publisher import ModelPublisher
from penguin_ros.ros.node.parameters import Parameters
from penguin_ros.ros.node.question_endpoints import QuestionEndpoints
from penguin_ros.ros.node.question_server import QuestionServer
from penguin_ros.ros.node.rule_endpoints import RuleEndpoints
from penguin_ros.ros.node.snapshot import (
    CameraSnapshot,
    NodeSnapshot,
    TextStats,
)
from penguin_ros.ros.node.surroundings import NodeWatch, on_clock_jump
from penguin_ros.ros.node.transitions import Transitions
from penguin_ros.ros.process.bounded_log import BoundedLog
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue

NODE_NAME = 'penguin'

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE


class PenguinNode(NumbersAsDeclared, LifecycleNodeMixin, Node):
    """The penguin node, unconfigured at first.

    `backend_factory` goes to the pipeline. SettingError when a parameter that the node is started
    with does not fit.
    """

    def __init__(self, backend_factory: BackendFactory | None = None) -> None:
        Node.__init__(self, NODE_NAME)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self.guard = CallbackGuard(self.get_logger())
        self.executor_queue = ExecutorQueue(self, self.guard)
        self.parameters = Parameters(
            self,
            lambda: self.lifecycle_state,
            lambda: self.executor_queue.post(self._apply_parameters),
        )
        self.config: PenguinConfig = self.parameters.config()
        self.cameras: tuple[CameraSetting, ...] = self.parameters.cameras()
        self.transitions = Transitions(self, self.executor_queue, self.guard)
        self.question_server = QuestionServer(
            self,
            self.executor_queue,
            self.guard,
            lambda: self.config.question.max_characters,
            lambda: self.lifecycle_state,
        )
        self._questions = QuestionEndpoints(
            self, self.question_server, self.guard, self.config.question.deadline
        )
        self._captions = CaptionPublisher(
            self, self.executor_queue, self.guard, lambda: self.config.caption.enabled
        )
        self._rules = RuleEndpoints(self, self.executor_queue, self.guard).server
        self._inputs: dict[str, CameraInput] = {}
        self._backend_factory = backend_factory
        self._pipeline: Pipeline | None = None
        self._loading = ''
        self._load_failure: PenguinError | None = None
        self._model = ModelPublisher(self, self.guard, self._status, lambda: self.config)
        self.create_service(SetBool, '~/enable', self._on_enable)
        self._watch, self._clock_watch = NodeWatch(self), ClockWatch(self)
        self._log = BoundedLog(self.get_logger())
        self._diagnostics = Diagnostics(self, self.guard, self._snapshot)
        self._jumps = on_clock_jump(self, self.guard.wrap(self._on_clock_jump))
        for warning in self.parameters.warnings():
            self.get_logger().warning(warning)

    # --- lifecycle --------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model, on the thread of transitions."""
        self._load_failure = None
        try:
            self.config = self.parameters.config()
            self.cameras = self.parameters.cameras()
            self._pipeline = Pipeline(
                self.config,
                [camera.name for camera in self.cameras],
                now_ns=self._now_ns,
                backend_factory=self._backend_factory,
                log=self.guard.report,
            )
            model = self._pipeline.open(self._on_progress)
        except PenguinError as error:
            return self._failed_to_load(error)
        except Exception as error:
            self.guard.report('configure', error)
            return self._failed_to_load(
                PenguinError(
                    'the model could not be loaded', repr(error), 'The log has the details'
                )
            )
        self.get_logger().info(
            f'{model.name} runs on {model.device} in {model.precision} ({model.backend}), '
            f'loaded in {model.load_ns / 1e9:.1f} s'
        )
        self.executor_queue.post(self._on_loaded)
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes to the cameras and serves requests."""
        try:
            assert self._pipeline is not None
            self._pipeline.configure(self.config)
            self._pipeline.activate()
            for camera in self.cameras:
                self._inputs[camera.name] = self._started_input(camera, self._pipeline)
            self._captions.start(self._pipeline, list(self._inputs), self.config.caption.period)
            self._rules.start(list(self._inputs))
        except Exception as error:
            self.guard.report('activate', error)
            self._stop_serving('activation failed')
            return FAILURE
        self.executor_queue.post(self._diagnostics.publish)  # runs when the transition is over
        topics = ', '.join(
            f'{camera.name} on {self.resolve_topic_name(camera.topic)}' for camera in self.cameras
        )
        self.get_logger().info(f'active; cameras: {topics or "none"}')
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends every request that is under way, with a reason."""
        self._stop_serving('it was deactivated')
        self.executor_queue.post(self._diagnostics.publish)
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the model, on the thread of transitions."""
        self._close_pipeline()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends every request and frees the model, from any state."""
        self._stop_serving('the node shuts down')
        self._close_pipeline()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Goes back to unconfigured, with nothing left."""
        return self.on_shutdown(state)

    async def autostart(self) -> None:
        """Configures and activates the node, unless the parameter `autostart` says no.

        After a failure the node stays and can be configured again.
        """
        try:
            if self.parameters.is_autostarted():
                await self.transitions.autostart()
            else:
                name = self.get_fully_qualified_name()
                self.get_logger().info(
                    'autostart is false: no model is loaded until a lifecycle manager or somebody '
                    f'asks for it. Type: {typed(name, "configure", "activate")}'
                )
        except Exception as error:
            self.guard.report('autostart', error)

    def stop(self, spin_until: Callable[[Callable[[], bool], float], bool]) -> None:
        """Ends every request, waits until their answers are sent, and frees the model.

        `spin_until(condition, seconds)` runs callbacks meanwhile.
        """
        self._stop_serving('the node shuts down')
        spin_until(lambda: self.question_server.is_idle, 1.5)
        self.question_server.abandon(Inactive('the node is not active', 'the node shuts down'))
        spin_until(lambda: self._questions.is_idle, 0.5)
        spin_until(lambda: False, 0.05)  # what was just ended is still to be sent
        self._close_pipeline(1.5)
        self.transitions.join(0.3)
        with suppress(Exception):  # rclpy refuses it in the middle of another transition
            self.trigger_shutdown()

    @property
    def device_loss(self) -> DeviceLost | None:
        """Why this process has to end although nobody asked for that; see Pipeline."""
        return None if self._pipeline is None else self._pipeline.device_loss

    def destroy_node(self) -> None:
        """Destroys also what rclpy does not destroy by itself."""
        self._jumps.unregister()
        self._questions.close()
        super().destroy_node()

    def _failed_to_load(self, error: PenguinError) -> TransitionCallbackReturn:
        if not isinstance(error, Inactive):  # a stop while the model is loading
            self.get_logger().error(f'the model is not loaded: {error}')
        self._load_failure = error
        self._close_pipeline()
        return FAILURE

    def _on_progress(self, line: str) -> None:
        """Notes and logs how far loading has come; on the worker's thread."""
        self._loading = line
        self.get_logger().info(line)

    def _on_loaded(self) -> None:
        self.question_server.pipeline = self._pipeline
        self.question_server.counts.clear()
        if self._pipeline is not None:
            self._rules.configure(self._pipeline, self.config, [each.name for each in self.cameras])
        self._captions.published = 0
        self._model.publish()

    def _stop_serving(self, reason: str) -> None:
        self._captions.stop()
        for camera_input in self._inputs.values():
            camera_input.stop()
        self._inputs.clear()
        if self._pipeline is not None:
            self._pipeline.deactivate(reason)
        self._rules.stop(reason)

    def _close_pipeline(self, timeout_s: float = 4.0) -> None:
        pipeline = self._pipeline
        self._pipeline = None
        self.question_server.pipeline = None
        self._rules.close()
        if pipeline is not None and not pipeline.close(timeout_s):
            self.get_logger().warning(
                f'a step of the model did not end within {timeout_s} s; '
                'its memory is freed when it does'
            )

    # --- while it serves --------------------------------------------------------------------------

    def _started_input(self, camera: CameraSetting, pipeline: Pipeline) -> CameraInput:
        sinks = FrameSinks(
            lambda frame: self._add_frame(pipeline, frame),
            lambda cause: pipeline.count_drop(camera.name, cause),
            lambda reason: pipeline.note_reason(camera.name, reason),
        )
        camera_input = CameraInput(self, camera, self.config, self.guard, sinks)
        camera_input.start()
        return camera_input

    def _add_frame(self, pipeline: Pipeline, frame: Frame) -> Admission:
        admission = pipeline.add_frame(frame)
        if admission:
            self._rules.note_frame(frame.camera, frame.stamp_ns)
        return admission

    def _apply_parameters(self) -> None:
        """Applies changed parameters; runs after rclpy has stored them."""
        previous = self.config
        self.config = self.parameters.config()
        if not self._is_configured():
            self.cameras = self.parameters.cameras()
        if self._pipeline is None:
            return
        self._pipeline.configure(self.config)
        self._rules.reconfigure(self.config)
        for camera_input in self._inputs.values():
            camera_input.configure(self.config)
        if self._inputs and self.config.caption.period != previous.caption.period:
            self._captions.start(self._pipeline, list(self._inputs), self.config.caption.period)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Serves `~/enable` by setting the parameter, so that both say the same."""
        result = self.set_parameters([Parameter('caption.enabled', value=bool(request.data))])[0]
        response.success = result.successful
        response.message = result.reason or f'captions are {"on" if request.data else "off"}'
        return response

    def _on_clock_jump(self, reason: str) -> None:
        if self._pipeline is not None:
            self._log.warning('jump', f'{reason}: frames are forgotten, requests about them end')
            self._pipeline.flush(reason)
            self._rules.clock_jumped(reason)
            for camera_input in self._inputs.values():
                camera_input.forget_clock()

    # --- its state --------------------------------------------------------------------------------

    def _is_configured(self) -> bool:
        return self.lifecycle_state != 'unconfigured'

    @property
    def lifecycle_state(self) -> str:
        """The label of the lifecycle state, or of the transition under way."""
        return str(self._state_machine.current_state[1])

    def _status(self) -> PipelineStatus | None:
        return self._pipeline.status() if self._pipeline is not None else None

    def _snapshot(self) -> NodeSnapshot:
        pipeline = self._status()
        return NodeSnapshot(
            name=self.get_fully_qualified_name(),
            stamp=self.get_clock().now().to_msg(),
            lifecycle_state=self.lifecycle_state,
            config=self.config,
            steady_ns=time.monotonic_ns(),
            pipeline=pipeline,
            texts=self._text_stats(),
            cameras=tuple(self._camera_snapshot(camera, pipeline) for camera in self.cameras),
            loading=self._loading,
            load_failure=self._load_failure,
            faults=self.guard.faults,
            last_fault=self.guard.last_fault,
            warnings=(*self._watch.warnings(), *self._clock_watch.warnings()),
            rules=self._rules.snapshot(),
        )

    def _camera_snapshot(
        self, camera: CameraSetting, pipeline: PipelineStatus | None
    ) -> CameraSnapshot:
        camera_input = self._inputs.get(camera.name)
        return CameraSnapshot(
            name=camera.name,
            topic=self.resolve_topic_name(camera.topic),
            transport=camera.transport,
            health=camera_input.health() if camera_input is not None else None,
            buffer=pipeline.cameras.get(camera.name) if pipeline is not None else None,
        )

    def _text_stats(self) -> TextStats:
        questions = self.question_server
        captions = self._captions
        return TextStats(
            answered=questions.counts['answered'],
            refused=questions.counts['refused'],
            failed=questions.counts['failed'],
            captions_published=captions.published,
            answer_ns=tuple(questions.latencies_ns),
            caption_ns=tuple(captions.latencies_ns),
            first_token_ns=(*questions.first_token_ns, *captions.first_token_ns),
        )

    def _now_ns(self) -> int:
        """Returns ROS time; may be called on any thread."""
        return int(self.get_clock().now().nanoseconds)
