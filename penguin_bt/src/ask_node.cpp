// SPDX-License-Identifier: Apache-2.0
#include "penguin_bt/ask_node.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

namespace penguin_bt
{
namespace
{

constexpr char kDescribe[] = "Describe what is happening in this video in one or two sentences.";
constexpr double kTimeout = 60.0;

template<typename Future>
bool is_done(const Future & future)
{
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

BT::PortsList ports(BT::PortsList::value_type question)
{
  return {
    std::move(question),
    BT::InputPort<std::string>("penguin", "/penguin", "full name of the penguin node"),
    BT::InputPort<std::string>("camera", "", "camera to look at; empty: the node's choice"),
    BT::InputPort<double>("last_seconds", 0.0, "look at so many last seconds; 0: at now"),
    BT::InputPort<std::vector<std::string>>("choices", "the answer is one of these: yes;no"),
    BT::InputPort<std::string>("json_schema", "", "the answer is JSON that conforms to it"),
    BT::InputPort<std::string>("expected", "", "succeed only when this is the choice"),
    BT::InputPort<double>("min_probability", 0.0, "... with at least this probability"),
    BT::InputPort<double>("timeout", kTimeout, "seconds until it fails"),
    BT::OutputPort<std::string>("text", "the answer"),
    BT::OutputPort<std::string>("choice", "the chosen one of the choices"),
    BT::OutputPort<double>("probability", "the probability of that choice"),
    BT::OutputPort<std::string>("json", "the answer as JSON"),
    BT::OutputPort<std::string>("error", "what failed, why and what to do; empty without error"),
  };
}

}  // namespace

AskNode::AskNode(
  const std::string & name, const BT::NodeConfig & config, rclcpp::Node::SharedPtr node)
: BT::StatefulActionNode(name, config), node_(std::move(node))
{
}

BT::PortsList AskNode::providedPorts()
{
  return ports(BT::InputPort<std::string>("question", "the question, in words"));
}

BT::PortsList DescribeNode::providedPorts()
{
  return ports(
    BT::InputPort<std::string>("question", std::string(kDescribe), "the question, in words"));
}

BT::NodeStatus AskNode::onStart()
{
  connect();
  sent_.reset();
  result_.reset();
  handle_.reset();
  setOutput("error", std::string());
  const auto timeout = getInput<double>("timeout").value_or(kTimeout);
  end_ = std::chrono::steady_clock::now() +
    std::chrono::duration_cast<std::chrono::steady_clock::duration>(
    std::chrono::duration<double>(timeout));
  return onRunning();
}

BT::NodeStatus AskNode::onRunning()
{
  executor_.spin_some();
  if (!sent_ && client_->action_server_is_ready()) {
    sent_ = client_->async_send_goal(goal(), Client::SendGoalOptions());
  }
  if (sent_ && !handle_ && is_done(*sent_)) {
    handle_ = sent_->get();
    if (!handle_) {
      return fail(server_ + " refused the question: it is not active");
    }
    result_ = client_->async_get_result(handle_);
  }
  if (result_ && is_done(*result_)) {
    const auto wrapped = result_->get();
    return wrapped.result ? finish(wrapped.result->answer) : fail(server_ + " gave no answer");
  }
  if (std::chrono::steady_clock::now() >= end_) {
    cancel();
    return fail(sent_ ? "no answer in time" : server_ + " does not answer");
  }
  return BT::NodeStatus::RUNNING;
}

void AskNode::onHalted()
{
  cancel();
}

void AskNode::connect()
{
  if (!node_) {
    node_ = config().blackboard->get<rclcpp::Node::SharedPtr>("node");
  }
  if (!group_) {
    group_ = node_->create_callback_group(rclcpp::CallbackGroupType::MutuallyExclusive, false);
    executor_.add_callback_group(group_, node_->get_node_base_interface());
  }
  const auto server = getInput<std::string>("penguin").value_or("/penguin") + "/answer_question";
  if (!client_ || server != server_) {
    server_ = server;
    client_ = rclcpp_action::create_client<Action>(node_, server_, group_);
  }
}

AskNode::Action::Goal AskNode::goal() const
{
  Action::Goal goal;
  const auto question = getInput<std::string>("question");
  if (!question) {
    throw BT::RuntimeError("a question is needed: ", question.error());
  }
  goal.question = question.value();
  goal.camera = getInput<std::string>("camera").value_or("");
  goal.choices = getInput<std::vector<std::string>>("choices").value_or(goal.choices);
  goal.json_schema = getInput<std::string>("json_schema").value_or("");
  const auto last_seconds = getInput<double>("last_seconds").value_or(0.0);
  if (last_seconds > 0.0) {
    const auto now = node_->now();
    goal.has_interval = true;
    goal.start = now - rclcpp::Duration::from_seconds(std::min(last_seconds, now.seconds()));
    goal.end = now;
  }
  return goal;
}

BT::NodeStatus AskNode::finish(const penguin_msgs::msg::Answer & answer)
{
  if (answer.error_code != 0) {
    return fail(answer.error_message);
  }
  double probability = 0.0;
  for (std::size_t index = 0; index < answer.choices.size(); ++index) {
    if (answer.choices[index] == answer.choice && index < answer.probabilities.size()) {
      probability = answer.probabilities[index];
    }
  }
  setOutput("text", answer.text);
  setOutput("choice", answer.choice);
  setOutput("probability", probability);
  setOutput("json", answer.json);
  const auto expected = getInput<std::string>("expected").value_or("");
  const auto enough = getInput<double>("min_probability").value_or(0.0);
  const bool fits = expected.empty() || (answer.choice == expected && probability >= enough);
  return fits ? BT::NodeStatus::SUCCESS : BT::NodeStatus::FAILURE;
}

BT::NodeStatus AskNode::fail(const std::string & why)
{
  RCLCPP_WARN(node_->get_logger(), "%s: %s", name().c_str(), why.c_str());
  setOutput("error", why);
  return BT::NodeStatus::FAILURE;
}

void AskNode::cancel()
{
  try {
    if (handle_) {
      client_->async_cancel_goal(handle_);
    } else if (client_ && sent_) {
      client_->async_cancel_all_goals();  // of this client: the node has not taken it yet
    }
  } catch (const std::exception & error) {  // it has ended meanwhile
    RCLCPP_DEBUG(node_->get_logger(), "%s: %s", name().c_str(), error.what());
  }
}

}  // namespace penguin_bt
