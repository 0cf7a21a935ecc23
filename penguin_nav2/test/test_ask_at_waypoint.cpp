// SPDX-License-Identifier: Apache-2.0
// The task asks an action that this test answers.
#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "penguin_nav2/ask_at_waypoint.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

namespace
{

using Action = penguin_msgs::action::AnswerQuestion;
using ServerHandle = rclcpp_action::ServerGoalHandle<Action>;

class Waypoint : public ::testing::Test
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
        question_ = handle->get_goal()->question;
        auto result = std::make_shared<Action::Result>();
        result->answer.text = result->answer.choice = "yes";
        result->answer.choices = {"yes", "no"};
        result->answer.probabilities = {0.9F, 0.1F};
        handle->succeed(result);
      });
    executor_.add_node(penguin_);
    thread_ = std::thread([this]() {executor_.spin();});
    follower_ = std::make_shared<penguin_nav2::Parent>("waypoint_follower");
  }

  void TearDown() override
  {
    executor_.cancel();
    thread_.join();
    rclcpp::shutdown();
  }

  bool arrive(int waypoint)
  {
    penguin_nav2::AskAtWaypoint task;
    task.initialize(follower_, "ask");
    return task.processAtWaypoint(geometry_msgs::msg::PoseStamped(), waypoint);
  }

  std::string question_;
  rclcpp::Node::SharedPtr penguin_;
  rclcpp_action::Server<Action>::SharedPtr server_;
  rclcpp::executors::SingleThreadedExecutor executor_;
  std::thread thread_;
  std::shared_ptr<penguin_nav2::Parent> follower_;
};

TEST_F(Waypoint, EachHasItsQuestionAndTheLastIsForAllFurther)
{
  follower_->declare_parameter("ask.questions", std::vector<std::string>{"Door?", "Window?"});
  EXPECT_TRUE(arrive(0));
  EXPECT_EQ(question_, "Door?");
  EXPECT_TRUE(arrive(7));
  EXPECT_EQ(question_, "Window?");
}

TEST_F(Waypoint, AnotherChoiceThanTheExpectedFails)
{
  follower_->declare_parameter("ask.expected", "no");
  EXPECT_FALSE(arrive(0));
}

TEST_F(Waypoint, NobodyThereFailsInTime)
{
  follower_->declare_parameter("ask.penguin", "/nobody");
  follower_->declare_parameter("ask.timeout", 0.2);
  EXPECT_FALSE(arrive(0));
}

}  // namespace

int main(int argc, char ** argv)
{
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
