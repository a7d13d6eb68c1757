#include "ringtron/comm/rendezvous/wire.h"

#include "ringtron/base/keyed_hash.h"

namespace ringtron::wire {

Packer& Packer::texts(const std::vector<std::string>& values) {
  number(static_cast<std::uint32_t>(values.size()));
  for (const std::string& value : values) text(value);
  return *this;
}

Packer& Packer::claim(const Claim& claim) {
  number(claim.rank).number(claim.world_size).number(claim.pid);
  return text(claim.host).text(claim.build);
}

std::vector<std::string> Unpacker::texts() {
  std::vector<std::string> values;
  for (auto left = number<std::uint32_t>(); left > 0; --left) values.push_back(text());
  return values;
}

Claim Unpacker::claim() {
  Claim claim;
  claim.rank = number<int>();
  claim.world_size = number<int>();
  claim.pid = number<int>();
  claim.host = text();
  claim.build = text();
  return claim;
}

std::string frame(Kind kind, std::string_view body) {
  std::string bytes = Packer().number(static_cast<std::uint32_t>(body.size() + 1)).number(kind).take();
  bytes.append(body);
  return bytes;
}

std::optional<Frame> FrameReader::next() {
  if (buffer_.size() < sizeof(std::uint32_t)) return {};
  Unpacker head(buffer_);
  const std::size_t length = head.number<std::uint32_t>();
  if (length == 0 || length > limit_) throw Malformed("a length that no frame has");
  if (buffer_.size() < sizeof(std::uint32_t) + length) return {};
  Frame out{head.number<Kind>(), buffer_.substr(sizeof(std::uint32_t) + 1, length - 1)};
  buffer_.erase(0, sizeof(std::uint32_t) + length);
  return out;
}

std::string rank_proof(std::string_view token, std::string_view server_nonce, std::string_view rank_nonce,
                       const Claim& claim) {
  return keyed_hash(token, Packer().text("rank").text(server_nonce).text(rank_nonce).claim(claim).take());
}

std::string server_proof(std::string_view token, std::string_view server_nonce, std::string_view rank_nonce) {
  return keyed_hash(token, Packer().text("hub").text(server_nonce).text(rank_nonce).take());
}

}  // namespace ringtron::wire
