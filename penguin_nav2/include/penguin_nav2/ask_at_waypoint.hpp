// SPDX-License-Identifier: Apache-2.0
#ifndef PENGUIN_NAV2__ASK_AT_WAYPOINT_HPP_
#define PENGUIN_NAV2__ASK_AT_WAYPOINT_HPP_

#include <memory>
#include <string>
#include <vector>

#include "geometry_msgs/msg/pose_stamped.hpp"
#include "nav2_core/waypoint_task_executor.hpp"
#include "penguin_msgs/action/answer_question.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"
#include "rclcpp_lifecycle/lifecycle_node.hpp"

namespace penguin_nav2
{

// The follower's node is of nav2's own class since Lyrical.
#if __has_include("nav2_ros_common/lifecycle_node.hpp")
using Parent = nav2::LifecycleNode;
#else
using Parent = rclcpp_lifecycle::LifecycleNode;
#endif

/// Asks a penguin node at each waypoint and waits for the answer, at most `timeout` seconds. The task
/// succeeds with an answer, or, where `expected` is given, with that choice. The answer itself is on
/// the penguin node's `~/answer`, where a memory node stores it with the robot's pose.
class AskAtWaypoint : public nav2_core::WaypointTaskExecutor
{
public:
  using Action = penguin_msgs::action::AnswerQuestion;

  void initialize(const Parent::WeakPtr & parent, const std::string & plugin_name) override;

  bool processAtWaypoint(
    const geometry_msgs::msg::PoseStamped & curr_pose, const int & curr_waypoint_index) override;

private:
  Action::Goal goal(int waypoint) const;
  bool judge(int waypoint, const penguin_msgs::msg::Answer & answer) const;

  rclcpp::Logger logger_ = rclcpp::get_logger("ask_at_waypoint");
  rclcpp::Node::SharedPtr node_;
  rclcpp::executors::SingleThreadedExecutor executor_;
  rclcpp_action::Client<Action>::SharedPtr client_;
  bool is_enabled_ = true;
  std::string penguin_;
  std::string camera_;
  std::vector<std::string> questions_;
  std::vector<std::string> choices_;
  std::string expected_;
  double min_probability_ = 0.0;
  double timeout_ = 30.0;
};

}  // namespace penguin_nav2

#endif  // PENGUIN_NAV2__ASK_AT_WAYPOINT_HPP_
