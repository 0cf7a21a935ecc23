// SPDX-License-Identifier: Apache-2.0
// Stamps are nanoseconds as text, since they do not fit a number of this language.

export const seconds = (stamp) => Number(BigInt(stamp || "0") / 1000000n) / 1000;

// ROS time in seconds, and local time where it can be one of a clock on the wall.
export function shown(stamp) {
  const value = seconds(stamp);
  if (!value) return "no time";
  if (value < 1e8) return value.toFixed(2) + " s";
  return new Date(value * 1000).toLocaleTimeString() + " (" + value.toFixed(2) + ")";
}

export const lasting = (value) => (value < 1 ? Math.round(value * 1000) + " ms" : value.toFixed(2) + " s");
