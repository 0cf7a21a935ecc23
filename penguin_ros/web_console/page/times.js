// SPDX-License-Identifier: Apache-2.0
// Stamps are nanoseconds as text, since they do not fit a number of this language.

export const seconds = (stamp) => Number(BigInt(stamp || "0") / 1000000n) / 1000;

const WALL = 1e8; // below that a clock is a simulated one, or counts from the robot's start

// Local time and ROS time. A stamp of a simulated clock has no local time of its own: that at which it was heard is shown.
export function shown(stamp, heard = 0) {
  const value = seconds(stamp);
  if (!value) return "no time";
  const ros = value.toFixed(2) + " s";
  const local = value > WALL ? 1000 * value : heard;
  return local ? `${new Date(local).toLocaleTimeString()} (ROS ${ros})` : ros;
}

export const lasting = (value) => (value < 1 ? Math.round(value * 1000) + " ms" : value.toFixed(2) + " s");
