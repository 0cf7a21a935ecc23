// SPDX-License-Identifier: Apache-2.0
#ifndef PENGUIN_BT__WAIT_FOR_EVENT_NODE_HPP_
#define PENGUIN_BT__WAIT_FOR_EVENT_NODE_HPP_

#include <chrono>
#include <optional>
#include <string>

#include "behaviortree_cpp/action_node.h"
#include "penguin_msgs/msg/event.hpp"
#include "rclcpp/rclcpp.hpp"

namespace penguin_bt
{

/// Waits until a rule of a penguin node fires: success with an event of `rule` and `camera`, empty
/// for any, that begins or goes on, or that ends where `wait_for_end` is true; failure after
/// `timeout`. Events count from its start on. The ROS node is that of AskNode.
class WaitForEventNode : public BT::StatefulActionNode
{
public:
  using Event = penguin_msgs::msg::Event;

  WaitForEventNode(
    const std::string & name, const BT::NodeConfig & config,
    rclcpp::Node::SharedPtr node = nullptr);

  static BT::PortsList providedPorts();

  BT::NodeStatus onStart() override;
  BT::NodeStatus onRunning() override;
  void onHalted() override;

private:
  void connect();
  bool fits(const Event & event) const;

  rclcpp::Node::SharedPtr node_;
  rclcpp::CallbackGroup::SharedPtr group_;
  rclcpp::executors::SingleThreadedExecutor executor_;
  std::string topic_;
  rclcpp::Subscription<Event>::SharedPtr subscription_;
  bool is_waiting_ = false;
  std::optional<Event> found_;
  std::optional<std::chrono::steady_clock::time_point> end_;
};

}  // namespace penguin_bt

#endif  // PENGUIN_BT__WAIT_FOR_EVENT_NODE_HPP_
