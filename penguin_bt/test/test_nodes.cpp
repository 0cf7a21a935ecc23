// SPDX-License-Identifier: Apache-2.0
// A tree asks an action that this test answers, and waits for an event that it publishes.
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "behaviortree_cpp/bt_factory.h"
#include "gtest/gtest.h"
#include "penguin_bt/ask_node.hpp"
#include "penguin_bt/wait_for_event_node.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

namespace
{

using Action = penguin_msgs::action::AnswerQuestion;
using ServerHandle = rclcpp_action::ServerGoalHandle<Action>;
using Event = penguin_msgs::msg::Event;

constexpr char kTree[] =
  R"(<root BTCPP_format="4"><BehaviorTree ID="Main"><Sequence>
  <PenguinAsk question="Is the door open?" choices="yes;no" expected="yes" text="{text}"/>
  <PenguinWaitForEvent rule="dog" timeout="30" event_camera="{camera}"/>
  </Sequence></BehaviorTree></root>)";

class Nodes : public ::testing::Test
{
protected:
  void SetUp() override
  {
    rclcpp::init(0, nullptr);
    penguin_ = std::make_shared<rclcpp::Node>("penguin");
    server_ = rclcpp_action::create_server<Action>(
      penguin_, "/penguin/answer_question",
      [](const auto &, const auto &) {return rclcpp_action::GoalResponse::ACCEPT_AND_EXECUTE;},
      [](const auto &) {return rclcpp_action::CancelResponse::ACCEPT;},
      [this](std::shared_ptr<ServerHandle> handle) {
        auto result = std::make_shared<Action::Result>();
        result->answer.text = result->answer.choice = choice_;
        result->answer.choices = handle->get_goal()->choices;
        result->answer.probabilities = {0.9F, 0.1F};
        handle->succeed(result);
      });
    publisher_ = penguin_->create_publisher<Event>("/penguin/event", 10);
    executor_.add_node(penguin_);
    thread_ = std::thread([this]() {executor_.spin();});
    auto client = std::make_shared<rclcpp::Node>("tree");
    factory_.registerNodeType<penguin_bt::AskNode>("PenguinAsk", client);
    factory_.registerNodeType<penguin_bt::WaitForEventNode>("PenguinWaitForEvent", client);
  }

  void TearDown() override
  {
    executor_.cancel();
    thread_.join();
    rclcpp::shutdown();
  }

  BT::NodeStatus run(BT::Tree & tree)
  {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    auto status = BT::NodeStatus::RUNNING;
    while (status == BT::NodeStatus::RUNNING && std::chrono::steady_clock::now() < end) {
      Event event;
      event.rule = "dog";
      event.camera = "front";
      publisher_->publish(event);
      status = tree.tickOnce();
      tree.sleep(std::chrono::milliseconds(20));
    }
    return status;
  }

  std::string choice_ = "yes";
  rclcpp::Node::SharedPtr penguin_;
  rclcpp_action::Server<Action>::SharedPtr server_;
  rclcpp::Publisher<Event>::SharedPtr publisher_;
  rclcpp::executors::SingleThreadedExecutor executor_;
  std::thread thread_;
  BT::BehaviorTreeFactory factory_;
};

TEST_F(Nodes, AskThenWaitForAnEvent)
{
  auto tree = factory_.createTreeFromText(kTree);
  EXPECT_EQ(run(tree), BT::NodeStatus::SUCCESS);
  EXPECT_EQ(tree.rootBlackboard()->get<std::string>("text"), "yes");
  EXPECT_EQ(tree.rootBlackboard()->get<std::string>("camera"), "front");
}

TEST_F(Nodes, AnotherChoiceFails)
{
  choice_ = "no";
  auto tree = factory_.createTreeFromText(kTree);
  EXPECT_EQ(run(tree), BT::NodeStatus::FAILURE);
}

}  // namespace

int main(int argc, char ** argv)
{
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
