// Numbers of the fields of TensorBoard's events, for the writer and the reader. Internal to telemetry/.
#pragma once

namespace ringtron {

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// tensorflow.Event, SessionLog, Summary, Summary.Value, SummaryMetadata, TensorProto and TensorShapeProto.
inline constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5, kEventSessionLog = 7;
inline constexpr int kSessionStatus = 1, kSessionStart = 1;
inline constexpr int kSummaryValue = 1, kValueTag = 1, kValueSimple = 2, kValueTensor = 8, kValueMetadata = 9;
inline constexpr int kMetadataPluginData = 1, kPluginName = 1;
inline constexpr int kTensorDType = 1, kTensorShape = 2, kTensorStrings = 8, kShapeDim = 2, kDimSize = 1;
inline constexpr int kTypeString = 7;

}  // namespace ringtron
