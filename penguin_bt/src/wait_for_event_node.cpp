// SPDX-License-Identifier: Apache-2.0
#include "penguin_bt/wait_for_event_node.hpp"

#include <utility>

namespace penguin_bt
{

WaitForEventNode::WaitForEventNode(
  const std::string & name, const BT::NodeConfig & config, rclcpp::Node::SharedPtr node)
: BT::StatefulActionNode(name, config), node_(std::move(node))
{
}

BT::PortsList WaitForEventNode::providedPorts()
{
  return {
    BT::InputPort<std::string>("penguin", "/penguin", "full name of the penguin node"),
    BT::InputPort<std::string>("rule", "", "id of the rule; empty: any"),
    BT::InputPort<std::string>("camera", "", "name of the camera; empty: any"),
    BT::InputPort<bool>("wait_for_end", false, "true: wait until an event ends or is lost"),
    BT::InputPort<double>("timeout", 0.0, "seconds until it fails; 0: never"),
    BT::OutputPort<std::string>("event_rule", "id of the rule that fired"),
    BT::OutputPort<std::string>("event_camera", "the camera on which it fired"),
    BT::OutputPort<double>("probability", "the newest probability of its condition"),
  };
}

BT::NodeStatus WaitForEventNode::onStart()
{
  connect();
  executor_.spin_some();  // what came before does not count
  found_.reset();
  is_waiting_ = true;
  end_.reset();
  const auto timeout = getInput<double>("timeout").value_or(0.0);
  if (timeout > 0.0) {
    end_ = std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(timeout));
  }
  return BT::NodeStatus::RUNNING;
}

BT::NodeStatus WaitForEventNode::onRunning()
{
  executor_.spin_some();
  if (found_) {
    is_waiting_ = false;
    setOutput("event_rule", found_->rule);
    setOutput("event_camera", found_->camera);
    const double newest = found_->probabilities.empty() ? 0.0 : found_->probabilities.back();
    setOutput("probability", newest);
    return BT::NodeStatus::SUCCESS;
  }
  if (end_ && std::chrono::steady_clock::now() >= *end_) {
    is_waiting_ = false;
    return BT::NodeStatus::FAILURE;
  }
  return BT::NodeStatus::RUNNING;
}

void WaitForEventNode::onHalted()
{
  is_waiting_ = false;
}

void WaitForEventNode::connect()
{
  if (!node_) {
    node_ = config().blackboard->get<rclcpp::Node::SharedPtr>("node");
  }
  if (!group_) {
    group_ = node_->create_callback_group(rclcpp::CallbackGroupType::MutuallyExclusive, false);
    executor_.add_callback_group(group_, node_->get_node_base_interface());
  }
  const auto topic = getInput<std::string>("penguin").value_or("/penguin") + "/event";
  if (subscription_ && topic == topic_) {
    return;
  }
  topic_ = topic;
  rclcpp::SubscriptionOptions options;
  options.callback_group = group_;
  subscription_ = node_->create_subscription<Event>(
    topic_, rclcpp::QoS(64),
    [this](Event::ConstSharedPtr event) {
      if (is_waiting_ && !found_ && fits(*event)) {
        found_ = *event;
      }
    },
    options);
}

bool WaitForEventNode::fits(const Event & event) const
{
  const auto rule = getInput<std::string>("rule").value_or("");
  const auto camera = getInput<std::string>("camera").value_or("");
  const bool has_ended = event.kind == Event::END || event.kind == Event::LOST;
  return (rule.empty() || event.rule == rule) && (camera.empty() || event.camera == camera) &&
         has_ended == getInput<bool>("wait_for_end").value_or(false);
}

}  // namespace penguin_bt
