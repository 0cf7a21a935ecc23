// SPDX-License-Identifier: Apache-2.0
// What BT::BehaviorTreeFactory::registerFromPlugin finds. The ROS node is the blackboard's entry `node`.
#include "behaviortree_cpp/bt_factory.h"
#include "penguin_bt/ask_node.hpp"
#include "penguin_bt/wait_for_event_node.hpp"

BT_REGISTER_NODES(factory)
{
  factory.registerNodeType<penguin_bt::AskNode>("PenguinAsk", nullptr);
  factory.registerNodeType<penguin_bt::DescribeNode>("PenguinDescribe", nullptr);
  factory.registerNodeType<penguin_bt::WaitForEventNode>("PenguinWaitForEvent", nullptr);
}
