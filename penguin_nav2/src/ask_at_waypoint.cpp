// SPDX-License-Identifier: Apache-2.0
#include "penguin_nav2/ask_at_waypoint.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <stdexcept>

#include "pluginlib/class_list_macros.hpp"

namespace penguin_nav2
{
namespace
{

using Clock = std::chrono::steady_clock;

template<typename Value>
Value parameter(Parent & node, const std::string & name, const Value & fallback)
{
  if (!node.has_parameter(name)) {
    node.declare_parameter<Value>(name, fallback);
  }
  Value value = fallback;
  node.get_parameter(name, value);
  return value;
}

}  // namespace

void AskAtWaypoint::initialize(const Parent::WeakPtr & parent, const std::string & plugin_name)
{
  const auto follower = parent.lock();
  if (!follower) {
    throw std::runtime_error("the waypoint follower is gone");
  }
  const auto name = [&plugin_name](const char * parameter) {return plugin_name + "." + parameter;};
  logger_ = follower->get_logger();
  is_enabled_ = parameter(*follower, name("enabled"), true);
  penguin_ = parameter(*follower, name("penguin"), std::string("/penguin"));
  camera_ = parameter(*follower, name("camera"), std::string());
  questions_ = parameter(
    *follower, name("questions"), std::vector<std::string>{"What is there?"});
  choices_ = parameter(*follower, name("choices"), std::vector<std::string>());
  expected_ = parameter(*follower, name("expected"), std::string());
  min_probability_ = parameter(*follower, name("min_probability"), 0.0);
  timeout_ = parameter(*follower, name("timeout"), 30.0);
  // A node of its own: the follower's is spun elsewhere, while this one waits.
  node_ = std::make_shared<rclcpp::Node>(
    plugin_name + "_penguin_client",
    rclcpp::NodeOptions().use_global_arguments(false).start_parameter_services(false));
  executor_.add_node(node_);
  client_ = rclcpp_action::create_client<Action>(node_, penguin_ + "/answer_question");
}

bool AskAtWaypoint::processAtWaypoint(
  const geometry_msgs::msg::PoseStamped & /*curr_pose*/, const int & curr_waypoint_index)
{
  if (!is_enabled_ || questions_.empty()) {
    return true;
  }
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
    std::chrono::duration<double>(timeout_));
  const auto left = [&end]() {
      return std::max(
        std::chrono::nanoseconds(1),
        std::chrono::duration_cast<std::chrono::nanoseconds>(end - Clock::now()));
    };
  if (!client_->wait_for_action_server(left())) {
    RCLCPP_WARN(logger_, "waypoint %d: %s does not answer", curr_waypoint_index, penguin_.c_str());
    return false;
  }
  auto sent = client_->async_send_goal(goal(curr_waypoint_index));
  if (executor_.spin_until_future_complete(sent, left()) != rclcpp::FutureReturnCode::SUCCESS) {
    RCLCPP_WARN(logger_, "waypoint %d: no answer in time", curr_waypoint_index);
    return false;
  }
  const auto handle = sent.get();
  if (!handle) {
    RCLCPP_WARN(
      logger_, "waypoint %d: %s refused the question", curr_waypoint_index, penguin_.c_str());
    return false;
  }
  auto result = client_->async_get_result(handle);
  if (executor_.spin_until_future_complete(result, left()) != rclcpp::FutureReturnCode::SUCCESS) {
    client_->async_cancel_goal(handle);
    RCLCPP_WARN(logger_, "waypoint %d: no answer in time", curr_waypoint_index);
    return false;
  }
  return judge(curr_waypoint_index, result.get().result->answer);
}

AskAtWaypoint::Action::Goal AskAtWaypoint::goal(int waypoint) const
{
  Action::Goal goal;
  const auto last = questions_.size() - 1;
  goal.question = questions_[std::min(static_cast<std::size_t>(std::max(waypoint, 0)), last)];
  goal.camera = camera_;
  goal.choices = choices_;
  return goal;
}

bool AskAtWaypoint::judge(int waypoint, const penguin_msgs::msg::Answer & answer) const
{
  if (answer.error_code != 0) {
    RCLCPP_WARN(logger_, "waypoint %d: %s", waypoint, answer.error_message.c_str());
    return false;
  }
  RCLCPP_INFO(
    logger_, "waypoint %d: %s %s", waypoint, answer.question.c_str(), answer.text.c_str());
  if (expected_.empty()) {
    return true;
  }
  double probability = 0.0;
  for (std::size_t index = 0; index < answer.choices.size(); ++index) {
    if (answer.choices[index] == answer.choice && index < answer.probabilities.size()) {
      probability = answer.probabilities[index];
    }
  }
  return answer.choice == expected_ && probability >= min_probability_;
}

}  // namespace penguin_nav2

PLUGINLIB_EXPORT_CLASS(penguin_nav2::AskAtWaypoint, nav2_core::WaypointTaskExecutor)
