// SPDX-License-Identifier: Apache-2.0
#ifndef PENGUIN_BT__ASK_NODE_HPP_
#define PENGUIN_BT__ASK_NODE_HPP_

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "behaviortree_cpp/action_node.h"
#include "penguin_msgs/action/answer_question.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

namespace penguin_bt
{

/// Asks a penguin node a question through its action. Running until the answer is there; success with
/// an answer, or, where `expected` is given, with that choice; failure with an error, another choice,
/// or after `timeout`. Halting cancels the question.
///
/// The ROS node comes from the constructor, or from the blackboard entry `node`, as in nav2. It has a
/// callback group of its own for this, which is spun by the tick and never waits, so that it does
/// not matter whether anybody spins the node.
class AskNode : public BT::StatefulActionNode
{
public:
  using Action = penguin_msgs::action::AnswerQuestion;
  using Client = rclcpp_action::Client<Action>;
  using Handle = rclcpp_action::ClientGoalHandle<Action>;

  AskNode(
    const std::string & name, const BT::NodeConfig & config,
    rclcpp::Node::SharedPtr node = nullptr);

  static BT::PortsList providedPorts();

  BT::NodeStatus onStart() override;
  BT::NodeStatus onRunning() override;
  void onHalted() override;

private:
  void connect();
  Action::Goal goal() const;
  BT::NodeStatus finish(const penguin_msgs::msg::Answer & answer);
  BT::NodeStatus fail(const std::string & why);
  void cancel();

  rclcpp::Node::SharedPtr node_;
  rclcpp::CallbackGroup::SharedPtr group_;
  rclcpp::executors::SingleThreadedExecutor executor_;
  std::string server_;
  Client::SharedPtr client_;
  std::chrono::steady_clock::time_point end_;
  std::optional<std::shared_future<Handle::SharedPtr>> sent_;
  std::optional<std::shared_future<Handle::WrappedResult>> result_;
  Handle::SharedPtr handle_;
};

/// Has a penguin node describe what a camera shows: an AskNode whose question has a default.
class DescribeNode : public AskNode
{
public:
  using AskNode::AskNode;

  static BT::PortsList providedPorts();
};

}  // namespace penguin_bt

#endif  // PENGUIN_BT__ASK_NODE_HPP_
